//! Answers of gRPC, and how they end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// The same body, of whose end `told` is told: by its trailers, or by what it breaks with. What is not taken to its end is dropped with
/// `told`, untold.
#[must_use]
pub fn telling_its_end(body: Body, told: impl FnMut(&Status) + Send + Unpin + 'static) -> Body {
    Body::new(Ending { body, told })
}

struct Ending<F> {
    body: Body,
    told: F,
}

impl<F: FnMut(&Status) + Unpin> HttpBody for Ending<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    (this.told)(&status);
                }
            }
            Poll::Ready(Some(Err(status))) => (this.told)(status),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

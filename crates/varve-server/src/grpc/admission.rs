//! What may be on its way in.
//!
//! A call's message is kept until all of it is there, and only then the call is looked at. So many calls that arrive at the same
//! time are so many messages in memory, whatever becomes of them. Here each asks for room for as much as its first bytes say
//! that it is, and is refused at once where there is none: before it is sent, for the most part. Requests that bring no records
//! are small, and no single request may take for ever to arrive. Streams of appends wait instead of being refused: see `arriving`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use varve_api::headers;
use varve_api::limits::MESSAGE_BYTES_MAX;

use super::arriving::StreamRoom;
use crate::error::overloaded;
use crate::limits::{ARRIVAL_TIMEOUT, REQUEST_BYTES_MAX};

/// How a path ends that single appends are sent to.
const PRODUCE: &str = "/Produce";
/// How one ends whose requests are a stream of appends.
const PRODUCE_STREAM: &str = "/ProduceStream";
/// Where a message's first bytes say how long it is, behind one that says whether it is compressed.
const LENGTH: std::ops::Range<usize> = 1..5;

/// A service whose requests are admitted one by one.
#[derive(Clone, Debug)]
pub(crate) struct Admission<S> {
    inner: S,
    room: Room,
}

/// What may be on its way in, of all services together. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// In single appends.
    single: Arc<Semaphore>,
    /// In streams of them.
    streams: StreamRoom,
}

impl Room {
    /// So many bytes of single appends, and so many of those in streams.
    pub(crate) fn new(single_bytes: usize, stream_bytes: usize) -> Self {
        Self { single: Arc::new(Semaphore::new(single_bytes)), streams: StreamRoom::new(stream_bytes) }
    }
}

impl<S> Admission<S> {
    pub(crate) fn new(inner: S, room: &Room) -> Self {
        Self { inner, room: room.clone() }
    }
}

impl<S: NamedService> NamedService for Admission<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Admission<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if path.ends_with(PRODUCE_STREAM) {
            let never =
                request.headers().get(headers::FORWARD).is_some_and(|value| value == headers::FORWARD_NEVER);
            return self.inner.call(request.map(|body| self.room.streams.admit(body, !never)));
        }
        let room = path.ends_with(PRODUCE).then(|| Arc::clone(&self.room.single));
        self.inner
            .call(request.map(|body| Body::new(Arriving { body, room, deadline: None, admission: None })))
    }
}

/// A message on its way. Its room is given back when it is there, and taken over.
struct Arriving {
    body: Body,
    /// Where it brings records: the room for all of those.
    room: Option<Arc<Semaphore>>,
    /// When it has to be there, once something of it has been waited for: most come with the call.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What it was let in with, once it has begun.
    admission: Option<Option<OwnedSemaphorePermit>>,
}

impl Arriving {
    fn admit(&self, first: &[u8]) -> Result<Option<OwnedSemaphorePermit>, Status> {
        let bytes = announced_bytes(first);
        match &self.room {
            Some(room) => match Arc::clone(room).try_acquire_many_owned(bytes) {
                Ok(held) => Ok(Some(held)),
                Err(_) => {
                    Err(overloaded("produce-bytes-arriving", "too many batches are on their way").into())
                }
            },
            None if first.len() >= LENGTH.end && bytes as usize > REQUEST_BYTES_MAX => {
                Err(Status::out_of_range(format!(
                    "the request has {bytes} bytes, and one that brings no records may have {REQUEST_BYTES_MAX}"
                )))
            }
            None => Ok(None),
        }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(ARRIVAL_TIMEOUT)));
            ready!(deadline.as_mut().poll(cx));
            let seconds = ARRIVAL_TIMEOUT.as_secs();
            let late = format!("the request has not arrived within {seconds} s");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
        };
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        if let (Some(first), None) = (data, &self.admission) {
            match self.admit(first) {
                Ok(held) => self.admission = Some(held),
                Err(refused) => return Poll::Ready(Some(Err(refused))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a message is by its first bytes. No longer than it may be: that is refused elsewhere. As long as it may be, where
/// they do not say.
fn announced_bytes(first: &[u8]) -> u32 {
    let longest = u32::try_from(MESSAGE_BYTES_MAX).unwrap_or(u32::MAX);
    let announced = first.get(LENGTH).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    announced.unwrap_or(longest).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_of_a_message_say_how_long_it_is() {
        assert_eq!(announced_bytes(&[0, 0, 1, 0, 2, 9, 9]), 0x1_0002);
        assert_eq!(announced_bytes(&[0, 0, 1]) as usize, MESSAGE_BYTES_MAX);
        assert_eq!(announced_bytes(&[0, 0xff, 0xff, 0xff, 0xff]) as usize, MESSAGE_BYTES_MAX);
    }
}

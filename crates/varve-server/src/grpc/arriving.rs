//! What produce streams may have on their way in, all of them together.
//!
//! A message is kept until all of it is there. So each asks for room for as much as its first bytes say that it is, and what comes of it is
//! taken when there is room: until then HTTP/2's windows hold its sender back. Room is asked for with nothing in the hands, so that no
//! stream waits for what another holds while that one waits as well. It is given back when more is asked for than was there: by then the
//! message was handed on, and is counted among those that are not decided. One that has begun may not take for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::PollSemaphore;
use tonic::Status;
use tonic::body::Body;

use varve_api::limits::MESSAGE_BYTES_MAX;

use crate::limits::ARRIVAL_TIMEOUT;

/// What stands before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// Room for messages of produce streams. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct StreamRoom {
    /// For those that this node may hand on.
    any: Arc<Semaphore>,
    /// For those that it may not: they wait for no other node, which may wait for them.
    direct: Arc<Semaphore>,
    bytes: usize,
}

impl StreamRoom {
    /// Room for so many bytes; as much again for streams that go no further than here.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { any: Arc::new(Semaphore::new(bytes)), direct: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// The body of a produce stream, of which only so much comes in as there is room for.
    pub(crate) fn admit(&self, body: Body, may_forward: bool) -> Body {
        let room = if may_forward { &self.any } else { &self.direct };
        Body::new(Arriving::new(body, room, self.bytes))
    }
}

/// The messages of a stream on their way.
struct Arriving<B> {
    body: B,
    room: PollSemaphore,
    /// All the room that there is: more is asked for by no message.
    room_bytes: usize,
    /// What has come and was not let in.
    waiting: Bytes,
    /// What was let in of the next message's head.
    head: Vec<u8>,
    /// What is still to come of the message that was let in last.
    left: usize,
    /// What that one was let in with, or several that came whole.
    held: Option<OwnedSemaphorePermit>,
    /// When it has to be there, once something of it has been waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What comes in next.
struct Piece {
    /// Its bytes.
    len: usize,
    /// The room that it takes.
    room: usize,
    /// What is to come of its message.
    left: usize,
}

impl<B> Arriving<B> {
    fn new(body: B, room: &Arc<Semaphore>, room_bytes: usize) -> Self {
        let room = PollSemaphore::new(Arc::clone(room));
        let (waiting, head) = (Bytes::new(), Vec::with_capacity(HEAD_BYTES));
        Self { body, room, room_bytes, waiting, head, left: 0, held: None, deadline: None }
    }

    /// What of the bytes that have come is let in next: what is left of a message, all messages that are whole, or the beginning of one;
    /// `None` if its head is not whole.
    fn next_piece(&self) -> Option<Piece> {
        if self.left > 0 {
            let len = self.left.min(self.waiting.len());
            return Some(Piece { len, room: 0, left: self.left - len });
        }
        let mut whole = 0;
        loop {
            let head = if whole == 0 { &self.head[..] } else { &[] };
            let mut bytes = head.chain(&self.waiting[whole..]);
            if bytes.remaining() < HEAD_BYTES {
                break;
            }
            bytes.advance(1);
            let message = bytes.get_u32() as usize;
            let (end, there) = (HEAD_BYTES - head.len() + message, self.waiting.len() - whole);
            if end > there {
                // One that is larger than any may be is refused by its head: for that no room is kept from others.
                let room = if message > MESSAGE_BYTES_MAX { 0 } else { message };
                let begun = Piece { len: there, room, left: end - there };
                return Some(if whole == 0 { begun } else { Piece { len: whole, room: whole, left: 0 } });
            }
            whole += end;
        }
        (whole > 0).then_some(Piece { len: whole, room: whole, left: 0 })
    }

    /// Lets in what there is room for.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Some(piece) = self.next_piece() else {
            self.head.extend_from_slice(&self.waiting);
            return Poll::Ready(std::mem::take(&mut self.waiting));
        };
        if piece.room > 0 {
            let room = u32::try_from(piece.room.min(self.room_bytes)).unwrap_or(u32::MAX);
            // It is never closed.
            self.held = ready!(self.room.poll_acquire_many(cx, room));
        }
        self.head.clear();
        self.left = piece.left;
        if self.left == 0 {
            self.deadline = None;
        }
        Poll::Ready(self.waiting.split_to(piece.len))
    }
}

impl<B> HttpBody for Arriving<B>
where
    B: HttpBody<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.left == 0 {
            self.held = None;
        }
        loop {
            if !self.waiting.is_empty() {
                return self.poll_piece(cx).map(|piece| Some(Ok(Frame::data(piece))));
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                if self.left == 0 {
                    return Poll::Pending;
                }
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(ARRIVAL_TIMEOUT)));
                ready!(deadline.as_mut().poll(cx));
                let seconds = ARRIVAL_TIMEOUT.as_secs();
                let late = format!("a batch has not arrived within {seconds} s");
                return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.waiting = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::future::poll_fn;
    use tokio::sync::mpsc;

    /// A body that a test feeds.
    struct Fed(mpsc::UnboundedReceiver<Bytes>);

    impl HttpBody for Fed {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    fn arriving(room: &Arc<Semaphore>, bytes: usize) -> (mpsc::UnboundedSender<Bytes>, Arriving<Fed>) {
        let (feed, fed) = mpsc::unbounded_channel();
        (feed, Arriving::new(Fed(fed), room, bytes))
    }

    fn message(len: usize) -> Vec<u8> {
        let head = u32::try_from(len).unwrap().to_be_bytes();
        [&[0][..], &head, &vec![7; len]].concat()
    }

    async fn next(body: &mut Arriving<Fed>) -> Option<Result<Bytes, Status>> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap()))
    }

    /// What comes in now, if anything does.
    fn now(body: &mut Arriving<Fed>) -> Option<Bytes> {
        Some(next(body).now_or_never()??.unwrap())
    }

    #[test]
    fn all_comes_in_as_it_was_sent_however_it_was_cut() {
        let sent: Vec<u8> = [0, 1, 4, 100, 0, 3000, 7, 20, 5000].into_iter().flat_map(message).collect();
        for cut in [1, 2, 3, 5, 6, 7, 64, 999, sent.len()] {
            let room = Arc::new(Semaphore::new(64));
            let (feed, mut body) = arriving(&room, 64);
            for piece in sent.chunks(cut) {
                feed.send(Bytes::copy_from_slice(piece)).unwrap();
            }
            drop(feed);
            let mut came = Vec::new();
            while let Some(piece) = now(&mut body) {
                came.extend_from_slice(&piece);
            }
            assert!(came == sent, "cut every {cut} bytes");
            drop(body);
            assert_eq!(room.available_permits(), 64);
        }
    }

    #[test]
    fn a_claim_that_is_refused_anyway_keeps_no_room_from_others() {
        let room = Arc::new(Semaphore::new(100));
        let (feed, mut body) = arriving(&room, 100);
        feed.send(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1])).unwrap();
        assert_eq!(now(&mut body).unwrap().len(), 6);
        assert_eq!(room.available_permits(), 100);
    }

    #[test]
    fn a_message_waits_until_there_is_room_for_all_of_it() {
        let room = Arc::new(Semaphore::new(100));
        let (first_feed, mut first) = arriving(&room, 100);
        let (second_feed, mut second) = arriving(&room, 100);
        let (sent, large) = (message(80), message(50));
        first_feed.send(Bytes::copy_from_slice(&sent[..20])).unwrap();
        second_feed.send(large.into()).unwrap();
        assert_eq!(now(&mut first).unwrap().len(), 20);
        assert_eq!(now(&mut second), None);
        first_feed.send(Bytes::copy_from_slice(&sent[20..])).unwrap();
        assert_eq!(now(&mut first).unwrap().len(), 65);
        assert_eq!(now(&mut second), None, "the first is there, and not yet handed on");
        // More is asked for: it was.
        assert_eq!(now(&mut first), None);
        assert_eq!(now(&mut second).unwrap().len(), 55);
    }

    #[test]
    fn whoever_waits_holds_nothing() {
        let room = Arc::new(Semaphore::new(100));
        let (first_feed, mut first) = arriving(&room, 100);
        let (second_feed, mut second) = arriving(&room, 100);
        // The end of one message and the beginning of the next come together.
        for feed in [&first_feed, &second_feed] {
            feed.send(Bytes::copy_from_slice(&message(50)[..10])).unwrap();
        }
        assert!(now(&mut first).is_some() && now(&mut second).is_some());
        let both = [&message(50)[10..], &message(60)[..10]].concat();
        for feed in [&first_feed, &second_feed] {
            feed.send(both.clone().into()).unwrap();
        }
        assert!(now(&mut first).is_some() && now(&mut second).is_some());
        assert_eq!((now(&mut first), now(&mut second)), (None, None));
        assert_eq!(now(&mut first).unwrap().len(), 10, "the second waits, and has given back what it held");
        assert_eq!(now(&mut second), None);
        first_feed.send(Bytes::copy_from_slice(&message(60)[10..])).unwrap();
        assert!(now(&mut first).is_some());
        assert_eq!(now(&mut first), None);
        assert_eq!(now(&mut second).unwrap().len(), 10);
    }

    #[test]
    fn streams_that_go_no_further_wait_for_none_that_may() {
        let rooms = StreamRoom::new(10);
        let all = Arc::clone(&rooms.any).try_acquire_many_owned(10).unwrap();
        assert_eq!(rooms.direct.available_permits(), 10);
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_has_begun_does_not_take_for_ever() {
        let room = Arc::new(Semaphore::new(100));
        let (feed, mut body) = arriving(&room, 100);
        feed.send(message(80)[..20].to_vec().into()).unwrap();
        next(&mut body).await.unwrap().unwrap();
        let late = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        drop(body);
        assert_eq!(room.available_permits(), 100);
        // Between two messages nobody is hurried.
        let (feed, mut body) = arriving(&room, 100);
        feed.send(message(80).into()).unwrap();
        next(&mut body).await.unwrap().unwrap();
        assert!(tokio::time::timeout(2 * ARRIVAL_TIMEOUT, next(&mut body)).await.is_err());
    }
}

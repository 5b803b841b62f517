use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;
use varve_api::error::{ApiError, Reason};
use varve_api::limits::PRODUCER_BATCHES_MAX;
use varve_telemetry::{Span, TraceContext};

use super::promise::Promise;

/// A batch that has its place in the order of its partition: encoded, perhaps sent, not acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) bytes: Bytes,
    pub(crate) outcome: Promise,
    pub(crate) held_bytes: usize,
    pub(crate) deadline: Instant,
    /// Whether an attempt may have appended it although it failed.
    pub(crate) maybe_appended: bool,
    /// What became of the last attempt, if it failed.
    pub(crate) last_error: Option<ApiError>,
    /// Until it is answered.
    pub(crate) span: Span,
    /// Counts the batches of the partition.
    number: u64,
    request_id: u64,
    sent_at: Option<Instant>,
}

impl InFlight {
    pub(crate) fn new(bytes: Bytes, outcome: Promise, held_bytes: usize, deadline: Instant) -> Self {
        Self {
            bytes,
            outcome,
            held_bytes,
            deadline,
            maybe_appended: false,
            last_error: None,
            span: Span::none(),
            number: 0,
            request_id: 0,
            sent_at: None,
        }
    }
}

/// A batch that is to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Its number on the stream.
    pub(crate) request_id: u64,
    pub(crate) bytes: Bytes,
    /// Where it belongs in a trace, if that is recorded.
    pub(crate) trace: Option<TraceContext>,
}

/// What to do after a batch was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It stays, to be sent again.
    Again,
    /// It is given up.
    GivenUp(Box<InFlight>),
}

/// The batches of a partition that are under way, in order, and what follows from each answer: the part of the producer
/// that keeps order and promises. No clock, no network.
///
/// On one stream the batches are, from the front: `refused` ones that wait to be sent again, those that wait for their
/// answer, and those not sent yet. After a refusal nothing more is sent on the stream: it is drained, so that what was
/// sent before is known, and then all that is left is sent again in order.
///
/// A server remembers the newest [`PRODUCER_BATCHES_MAX`] batches of a producer. So from the oldest batch that is not
/// acknowledged to the newest there are never more, counting those between them that are acknowledged: then each that is
/// sent again is recognised.
#[derive(Debug)]
pub(crate) struct Window {
    batches: VecDeque<InFlight>,
    refused: usize,
    sent: usize,
    next_request_id: u64,
    next_number: u64,
    idempotent: bool,
    draining: bool,
    /// Whether the sequences of what is left no longer follow those that the server has: they need a new identity.
    broken_sequence: bool,
}

impl Window {
    pub(crate) fn new(idempotent: bool) -> Self {
        Self {
            batches: VecDeque::with_capacity(PRODUCER_BATCHES_MAX),
            refused: 0,
            sent: 0,
            next_request_id: 1,
            next_number: 0,
            idempotent,
            draining: false,
            broken_sequence: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether another batch may be put in.
    pub(crate) fn has_room(&self) -> bool {
        let oldest = self.batches.front().map_or(self.next_number, |batch| batch.number);
        let span = self.next_number - oldest;
        span < PRODUCER_BATCHES_MAX as u64 && !self.draining && !self.broken_sequence
    }

    pub(crate) fn push(&mut self, mut batch: InFlight) {
        debug_assert!(self.has_room(), "the caller asked before");
        batch.number = self.next_number;
        self.next_number += 1;
        self.batches.push_back(batch);
    }

    /// The next batch to send, if one may be sent.
    pub(crate) fn send_next(&mut self, now: Instant) -> Option<Outgoing> {
        if self.draining {
            return None;
        }
        let batch = self.batches.get_mut(self.sent)?;
        self.sent += 1;
        batch.request_id = self.next_request_id;
        batch.sent_at = Some(now);
        self.next_request_id += 1;
        Some(Outgoing {
            request_id: batch.request_id,
            bytes: batch.bytes.clone(),
            trace: batch.span.context(),
        })
    }

    /// Whether this is the number of the batch whose answer is due.
    pub(crate) fn expects(&self, request_id: u64) -> bool {
        self.is_waiting() && self.batches[self.refused].request_id == request_id
    }

    /// Whether an answer is due.
    pub(crate) fn is_waiting(&self) -> bool {
        self.refused < self.sent
    }

    /// When the batch was sent whose answer is due.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        if self.is_waiting() { self.batches[self.refused].sent_at } else { None }
    }

    /// Whether the stream is to be closed: every answer that is due came, and what is left needs a new stream.
    pub(crate) fn is_drained(&self) -> bool {
        self.draining && !self.is_waiting()
    }

    /// Sends nothing more on this stream.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// The batch whose answer was due was appended.
    pub(crate) fn acknowledged(&mut self) -> Option<InFlight> {
        if !self.is_waiting() {
            return None;
        }
        self.sent -= 1;
        self.batches.remove(self.refused)
    }

    /// The batch whose answer was due was refused.
    pub(crate) fn refuse(&mut self, error: &ApiError) -> Option<Refused> {
        if !self.is_waiting() {
            return None;
        }
        let follows_refusal = self.refused > 0 || self.broken_sequence;
        let idempotent = self.idempotent;
        let batch = &mut self.batches[self.refused];
        batch.maybe_appended |= error.may_have_happened();
        batch.last_error = Some(error.clone());
        // What follows a refused batch is refused for that alone (by a server that has taken nothing of this producer yet,
        // as unknown).
        let is_out_of_order = matches!(error.reason, Reason::OutOfOrderSequence | Reason::UnknownProducer);
        let is_consequence = idempotent && follows_refusal && is_out_of_order;
        // The server forgot a producer that was silent for long: under a new identity the batch can go.
        let is_unknown = error.reason == Reason::UnknownProducer && !is_consequence;
        let is_forgotten = idempotent && is_unknown && !batch.maybe_appended;
        self.broken_sequence |= is_forgotten;
        if is_consequence || is_forgotten || error.retryable(idempotent) {
            self.draining = true;
            self.refused += 1;
            return Some(Refused::Again);
        }
        // Without sequences the others do not depend on it.
        self.draining |= idempotent;
        self.broken_sequence |= idempotent;
        self.sent -= 1;
        self.batches.remove(self.refused).map(|batch| Refused::GivenUp(Box::new(batch)))
    }

    /// Puts back what is left of the batch that was refused for good just now, to be sent again in its place.
    pub(crate) fn put_back(&mut self, batch: InFlight) {
        self.batches.insert(self.refused, batch);
        self.refused += 1;
        self.sent += 1;
        self.draining = true;
    }

    /// The stream broke, or was closed: what waits for its answer may have been appended if the error says so. Gives the
    /// batches that are given up.
    pub(crate) fn stream_ended(&mut self, error: &ApiError) -> Vec<InFlight> {
        let waiting = self.refused..self.sent;
        for batch in self.batches.range_mut(waiting.clone()) {
            batch.maybe_appended |= error.may_have_happened();
            batch.last_error = Some(error.clone());
        }
        // What was not sent fails as well if no stream can be had.
        let concerned = if self.sent == 0 { 0..self.batches.len() } else { waiting };
        let given_up = if error.retryable(self.idempotent) { 0..0 } else { concerned };
        self.rewind();
        self.broken_sequence |= self.idempotent && !given_up.is_empty();
        self.batches.drain(given_up).collect()
    }

    /// Goes back to the front, for a new stream.
    pub(crate) fn rewind(&mut self) {
        self.refused = 0;
        self.sent = 0;
        self.draining = false;
        for batch in &mut self.batches {
            batch.sent_at = None;
        }
    }

    /// When the first of the batches is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.batches.iter().map(|batch| batch.deadline).min()
    }

    /// Gives the batches whose time is over. The stream must have been ended before, if they were sent on it.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<InFlight> {
        debug_assert_eq!(self.sent, 0, "the caller ended the stream");
        let expired = self.batches.iter().take_while(|batch| batch.deadline <= now).count();
        self.broken_sequence |= self.idempotent && expired > 0;
        self.batches.drain(..expired).collect()
    }

    /// Whether what is left needs a new identity before it is sent.
    pub(crate) fn needs_identity(&self) -> bool {
        self.broken_sequence
    }

    /// Takes the batches out to give them a new identity: those that may not be sent under another, since they may have
    /// been appended under the old one, and the others, in order.
    pub(crate) fn take_for_identity(&mut self) -> (Vec<InFlight>, Vec<InFlight>) {
        self.rewind();
        self.broken_sequence = false;
        self.batches.drain(..).partition(|batch| batch.maybe_appended)
    }

    /// No identity could be had: nothing is put in before there is one.
    pub(crate) fn lose_identity(&mut self) {
        self.broken_sequence = true;
    }

    /// Takes all batches out, to give them up.
    pub(crate) fn take_all(&mut self) -> Vec<InFlight> {
        self.rewind();
        self.batches.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    fn window(idempotent: bool, batches: u8) -> Window {
        let mut window = Window::new(idempotent);
        for batch in 0..batches {
            window.push(in_flight(batch));
        }
        window
    }

    fn in_flight(name: u8) -> InFlight {
        let outcome = Promise::new(oneshot::channel().0);
        let deadline = Instant::now() + Duration::from_secs(u64::from(name) + 1);
        InFlight::new(Bytes::from(vec![name]), outcome, 0, deadline)
    }

    fn send_all(window: &mut Window) -> Vec<u8> {
        std::iter::from_fn(|| window.send_next(Instant::now())).map(|sent| sent.bytes[0]).collect()
    }

    fn names(batches: &[InFlight]) -> Vec<u8> {
        batches.iter().map(|batch| batch.bytes[0]).collect()
    }

    fn error(reason: Reason) -> ApiError {
        ApiError::new(reason, "")
    }

    #[test]
    fn answers_come_in_order_and_make_room() {
        let mut window = window(true, 5);
        assert!(!window.has_room());
        assert_eq!(send_all(&mut window), [0, 1, 2, 3, 4]);
        assert!(window.expects(1) && !window.expects(2));
        assert_eq!(window.acknowledged().expect("waiting").bytes[0], 0);
        assert!(window.expects(2) && window.has_room());
    }

    #[test]
    fn no_answer_is_taken_that_is_not_due() {
        let mut window = window(true, 1);
        assert!(!window.expects(0) && !window.expects(1));
        assert!(window.acknowledged().is_none());
        assert!(window.refuse(&error(Reason::Quota)).is_none());
    }

    #[test]
    fn a_broken_stream_sends_all_again_in_order() {
        let mut window = window(true, 3);
        send_all(&mut window);
        window.acknowledged();
        assert!(window.stream_ended(&error(Reason::ConnectionLost)).is_empty());
        assert!(!window.needs_identity());
        assert_eq!(send_all(&mut window), [1, 2]);
    }

    #[test]
    fn without_sequences_what_may_have_happened_is_not_sent_again() {
        let mut window = window(false, 3);
        window.send_next(Instant::now());
        window.send_next(Instant::now());
        let given_up = window.stream_ended(&error(Reason::ConnectionLost));
        assert_eq!(names(&given_up), [0, 1]);
        assert_eq!(send_all(&mut window), [2]);
    }

    #[test]
    fn what_was_never_sent_is_sent_again_even_without_sequences() {
        let mut window = window(false, 2);
        assert!(window.stream_ended(&error(Reason::Unreachable)).is_empty());
        assert_eq!(send_all(&mut window), [0, 1]);
    }

    #[test]
    fn a_refusal_that_passes_drains_then_sends_again_in_order() {
        let mut window = window(true, 4);
        send_all(&mut window);
        window.acknowledged();
        assert!(matches!(window.refuse(&error(Reason::Overloaded)), Some(Refused::Again)));
        assert!(!window.has_room() && !window.is_drained());
        for _ in 0..2 {
            let refused = window.refuse(&error(Reason::OutOfOrderSequence));
            assert!(matches!(refused, Some(Refused::Again)));
        }
        assert!(window.is_drained());
        window.rewind();
        assert!(!window.needs_identity());
        assert_eq!(send_all(&mut window), [1, 2, 3]);
    }

    #[test]
    fn a_final_refusal_gives_the_rest_a_new_identity() {
        let mut window = window(true, 3);
        send_all(&mut window);
        let Some(Refused::GivenUp(batch)) = window.refuse(&error(Reason::RecordTooLarge)) else { panic!() };
        assert_eq!(batch.bytes[0], 0);
        window.refuse(&error(Reason::OutOfOrderSequence));
        window.refuse(&error(Reason::OutOfOrderSequence));
        assert!(window.is_drained() && window.needs_identity());
        let (lost, kept) = window.take_for_identity();
        assert_eq!((names(&lost), names(&kept)), (vec![], vec![1, 2]));
    }

    #[test]
    fn a_new_identity_never_carries_what_may_have_been_appended() {
        let mut window = window(true, 3);
        window.send_next(Instant::now());
        window.send_next(Instant::now());
        window.stream_ended(&error(Reason::ConnectionLost));
        let expired = window.expire(Instant::now() + Duration::from_millis(1500));
        assert_eq!(names(&expired), [0]);
        let (lost, kept) = window.take_for_identity();
        assert_eq!((names(&lost), names(&kept)), (vec![1], vec![2]));
    }

    #[test]
    fn out_of_order_without_an_earlier_refusal_is_final() {
        let mut window = window(true, 1);
        send_all(&mut window);
        assert!(matches!(window.refuse(&error(Reason::OutOfOrderSequence)), Some(Refused::GivenUp(_))));
    }

    #[test]
    fn a_batch_that_waits_is_never_left_behind_by_more_than_is_remembered() {
        let mut window = window(true, 5);
        send_all(&mut window);
        assert!(matches!(window.refuse(&error(Reason::Overloaded)), Some(Refused::Again)));
        // An earlier attempt had appended all of them, so that the others are acknowledged as duplicates.
        for _ in 0..4 {
            window.acknowledged();
        }
        assert!(window.is_drained());
        window.rewind();
        assert!(!window.has_room(), "a sixth batch would make the server forget the first");
        send_all(&mut window);
        window.acknowledged();
        assert!(window.has_room());
    }

    #[test]
    fn unknown_because_the_first_batch_was_refused_needs_no_new_identity() {
        let mut window = window(true, 2);
        send_all(&mut window);
        assert!(matches!(window.refuse(&error(Reason::CommitUnknown)), Some(Refused::Again)));
        assert!(matches!(window.refuse(&error(Reason::UnknownProducer)), Some(Refused::Again)));
        window.rewind();
        assert!(!window.needs_identity());
        assert_eq!(send_all(&mut window), [0, 1]);
    }

    #[test]
    fn a_forgotten_producer_goes_on_under_a_new_identity() {
        let mut window = window(true, 1);
        send_all(&mut window);
        assert!(matches!(window.refuse(&error(Reason::UnknownProducer)), Some(Refused::Again)));
        assert!(window.needs_identity());
        let (lost, kept) = window.take_for_identity();
        assert_eq!((names(&lost), names(&kept)), (vec![], vec![0]));
    }

    #[test]
    fn a_forgotten_producer_gives_up_what_may_have_been_appended() {
        let mut window = window(true, 1);
        send_all(&mut window);
        window.stream_ended(&error(Reason::ConnectionLost));
        send_all(&mut window);
        assert!(matches!(window.refuse(&error(Reason::UnknownProducer)), Some(Refused::GivenUp(_))));
    }

    #[test]
    fn without_sequences_a_final_refusal_concerns_nobody_else() {
        let mut window = window(false, 2);
        send_all(&mut window);
        assert!(matches!(window.refuse(&error(Reason::RecordTooLarge)), Some(Refused::GivenUp(_))));
        assert!(window.has_room() && window.expects(2));
        assert_eq!(window.acknowledged().expect("waiting").bytes[0], 1);
    }
}

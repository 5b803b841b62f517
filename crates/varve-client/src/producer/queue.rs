use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use varve_record::{BatchBuilder, HeaderRef, Limits, PushError, Timestamp};
use varve_telemetry::{Span, SpanKind, Spans, TraceContext};

use super::builder::ProducerOptions;
use super::delivery::{Delivery, OutcomeReceiver};
use super::promise::Promise;
use super::record::ProducerRecord;
use crate::ClientError;

/// What the header takes that says which trace a record belongs to.
const TRACE_HEADER_BYTES: usize = 80;

/// Empty builders that are kept for their buffers.
const SPARE_BUILDERS_MAX: usize = 8;

/// The records of one partition that were not sent yet, gathered in batches: filled by [`Producer::send`], drained by the
/// partition's worker.
///
/// [`Producer::send`]: super::Producer::send
#[derive(Debug)]
pub(crate) struct Queue {
    options: ProducerOptions,
    spans: Spans,
    state: Mutex<State>,
    /// Wakes the worker.
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Gathered>,
    sealed: VecDeque<Gathered>,
    spare: Vec<BatchBuilder>,
    /// What becomes of the newest batch, and so of all before it.
    newest: Option<OutcomeReceiver>,
    /// Why no more records are taken.
    closed: Option<ClientError>,
    /// The first failure since it was last asked for.
    failure: Option<ClientError>,
}

/// A batch before it is encoded.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) builder: BatchBuilder,
    pub(crate) outcome: Promise,
    receiver: OutcomeReceiver,
    /// The part of the producer's bytes in flight that it holds.
    pub(crate) held_bytes: usize,
    opened: Instant,
    /// From its first record until it is answered.
    pub(crate) span: Span,
}

impl Gathered {
    /// When the batch is given up.
    pub(crate) fn deadline(&self, delivery_timeout: Duration) -> Instant {
        self.opened + delivery_timeout
    }
}

/// A record in its queue.
pub(crate) struct Pushed {
    pub(crate) delivery: Delivery,
    /// Whether a batch became full.
    pub(crate) sealed: bool,
}

impl Queue {
    pub(crate) fn new(options: ProducerOptions, spans: Spans) -> Self {
        Self { options, spans, state: Mutex::default(), wake: Notify::new() }
    }

    /// Adds a record that holds so many bytes of those in flight.
    ///
    /// # Errors
    /// If the record is too large, or the queue is closed.
    pub(crate) fn push(
        &self,
        record: &ProducerRecord,
        now_ms: i64,
        held_bytes: usize,
    ) -> Result<Pushed, ClientError> {
        let mut state = self.state();
        if let Some(closed) = &state.closed {
            return Err(closed.clone());
        }
        let sealed_before = state.sealed.len();
        let delivery = state.push(record, now_ms, held_bytes, &self.options, &self.spans)?;
        let sealed = state.sealed.len() > sealed_before;
        if sealed || delivery.place == 0 {
            self.wake.notify_one();
        }
        Ok(Pushed { delivery, sealed })
    }

    /// Waits until there may be something to take.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The next batch that is due.
    pub(crate) fn take(&self, now: Instant) -> Option<Gathered> {
        let mut state = self.state();
        if state.sealed.is_empty() && state.due(&self.options).is_some_and(|due| due <= now) {
            state.seal();
        }
        state.sealed.pop_front()
    }

    /// When a batch is due; `None` if there is no record.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.state().due(&self.options)
    }

    /// Takes back a builder for its buffers.
    pub(crate) fn give_back(&self, mut builder: BatchBuilder) {
        let mut state = self.state();
        if state.spare.len() < SPARE_BUILDERS_MAX {
            builder.clear();
            state.spare.push(builder);
        }
    }

    /// Makes every record due, and gives what becomes of the last of them.
    pub(crate) fn flush(&self) -> Option<OutcomeReceiver> {
        let mut state = self.state();
        state.seal();
        self.wake.notify_one();
        state.newest.clone()
    }

    /// Takes no more records; what is there becomes due.
    pub(crate) fn close(&self, why: ClientError) {
        let mut state = self.state();
        state.seal();
        state.closed.get_or_insert(why);
        self.wake.notify_one();
    }

    /// Whether it takes no more records and has none.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.state();
        state.closed.is_some() && state.open.is_none() && state.sealed.is_empty()
    }

    /// Takes note of a failure for [`Queue::take_failure`].
    pub(crate) fn failed(&self, error: &ClientError) {
        self.state().failure.get_or_insert_with(|| error.clone());
    }

    /// The first failure since this was last asked.
    pub(crate) fn take_failure(&self) -> Option<ClientError> {
        self.state().failure.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(
        &mut self,
        record: &ProducerRecord,
        now_ms: i64,
        held_bytes: usize,
        options: &ProducerOptions,
        spans: &Spans,
    ) -> Result<Delivery, ClientError> {
        let would_pass =
            |open: &Gathered| open.builder.size_bytes() + record.size_bytes() > options.batch_bytes;
        if self.open.as_ref().is_some_and(would_pass) {
            self.seal();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.gather(options, spans, record),
        };
        let mut pushed = push_record(&mut open, record, now_ms, &options.limits);
        if let (Err(PushError::Full), false) = (&pushed, open.builder.is_empty()) {
            self.sealed.push_back(open);
            open = self.gather(options, spans, record);
            pushed = push_record(&mut open, record, now_ms, &options.limits);
        }
        let place = open.builder.len();
        let delivery = Delivery { outcome: open.receiver.clone(), place: place.saturating_sub(1) as u32 };
        if pushed.is_ok() {
            open.held_bytes += held_bytes;
        }
        if place > 0 {
            self.newest = Some(open.receiver.clone());
            self.open = Some(open);
        } else {
            self.spare.push(open.builder);
        }
        pushed?;
        if self.open.as_ref().is_some_and(|open| open.builder.size_bytes() >= options.batch_bytes) {
            self.seal();
        }
        Ok(delivery)
    }

    fn gather(&mut self, options: &ProducerOptions, spans: &Spans, first: &ProducerRecord) -> Gathered {
        let builder = self.spare.pop();
        let (outcome, receiver) = oneshot::channel();
        Gathered {
            builder: builder
                .unwrap_or_else(|| BatchBuilder::with_limits(options.compression, options.limits)),
            outcome: Promise::new(outcome),
            receiver: receiver.shared(),
            held_bytes: 0,
            opened: Instant::now(),
            span: spans.begin("produce", SpanKind::Producer, first.trace()),
        }
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.take());
    }

    fn due(&self, options: &ProducerOptions) -> Option<Instant> {
        match self.sealed.front() {
            Some(sealed) => Some(sealed.opened),
            None => self.open.as_ref().map(|open| open.opened + options.linger),
        }
    }
}

/// Adds a record, with the trace of its batch where that is recorded and the record has none of its own.
fn push_record(
    open: &mut Gathered,
    record: &ProducerRecord,
    now_ms: i64,
    limits: &Limits,
) -> Result<(), PushError> {
    let builder = &mut open.builder;
    // One that is as large as it may be goes without: to be watched must not be what a record is refused for.
    let has_room = record.size_bytes() + TRACE_HEADER_BYTES <= limits.record_bytes_max;
    let trace = open.span.context().filter(|_| has_room && !record.is_traced());
    let trace = trace.map(TraceContext::to_traceparent);
    let timestamp = record.create_time.unwrap_or(Timestamp::new(now_ms));
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    if record.headers.is_empty() && trace.is_none() {
        return builder.push(timestamp, key, value, &[]);
    }
    let own = record.headers.iter();
    let own = own.map(|header| HeaderRef { name: &header.name, value: header.value.as_deref() });
    let of_batch =
        trace.as_ref().map(|trace| HeaderRef { name: TraceContext::NAME, value: Some(trace.as_bytes()) });
    let headers: Vec<HeaderRef<'_>> = own.chain(of_batch).collect();
    builder.push(timestamp, key, value, &headers)
}

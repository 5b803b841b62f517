use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::v1;
use varve_api::v1::produce_stream_response::Result as Answer;
use varve_record::{Batch, BuildError, Offset, ProducerEpoch, ProducerId, RecordRef, Sequence, Timestamp};
use varve_telemetry::KeyValue;

use super::builder::ProducerOptions;
use super::delivery::BatchAck;
use super::promise::Promise;
use super::queue::{Gathered, Queue};
use super::rebuild::rebuilt;
use super::stream::{ProduceStream, Template};
use super::window::{InFlight, Refused, Window};
use crate::attempts::retry_pause;
use crate::backoff::Backoff;
use crate::client::{Replica, Target};
use crate::{Client, ClientError};

/// The identity of an idempotent producer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

impl TryFrom<v1::InitProducerResponse> for Identity {
    type Error = ClientError;

    fn try_from(answer: v1::InitProducerResponse) -> Result<Self, ClientError> {
        let epoch = i16::try_from(answer.producer_epoch).ok().filter(|epoch| *epoch >= 0);
        match (answer.producer_id, epoch) {
            (id @ 0.., Some(epoch)) => Ok(Self { id: id.into(), epoch: epoch.into() }),
            _ => Err(ApiError::new(Reason::Internal, "server gave out a producer that cannot be").into()),
        }
    }
}

/// Sends the batches of one partition, in order, until its queue is closed and empty.
#[derive(Debug)]
pub(crate) struct Worker {
    client: Client,
    template: Template,
    options: ProducerOptions,
    queue: Arc<Queue>,
    /// What is free of the producer's bytes in flight.
    in_flight: Arc<Semaphore>,
    window: Window,
    stream: Option<ProduceStream>,
    identity: Option<Identity>,
    next_sequence: Sequence,
    backoff: Backoff,
    /// No new stream is opened before.
    pause_until: Option<Instant>,
    /// Why the newest batch was refused for good.
    gave_up: Option<ApiError>,
}

/// What a worker waits for.
enum Event {
    Answer(Result<v1::ProduceStreamResponse, ApiError>),
    Woken,
}

impl Worker {
    pub(crate) fn new(
        client: Client,
        template: Template,
        options: ProducerOptions,
        queue: Arc<Queue>,
        in_flight: Arc<Semaphore>,
        identity: Option<Identity>,
    ) -> Self {
        Self {
            client,
            template,
            queue,
            in_flight,
            window: Window::new(options.idempotent),
            options,
            stream: None,
            identity,
            next_sequence: Sequence::new(0),
            backoff: Backoff::default(),
            pause_until: None,
            gave_up: None,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            self.expire();
            self.gather();
            if self.window.is_drained() {
                // Everything sent is answered: what is left goes on a new stream.
                self.stream = None;
                self.window.rewind();
            }
            if self.window.needs_identity() && self.wants_identity() {
                self.stream = None;
                self.renew_identity().await;
                continue;
            }
            if self.stream.is_none() && !self.window.is_empty() {
                self.connect().await;
                continue;
            }
            if self.window.is_empty() && self.queue.is_finished() {
                return;
            }
            match self.event().await {
                Event::Answer(Ok(answer)) => self.answered(answer),
                Event::Answer(Err(error)) => self.stream_failed(error),
                Event::Woken => {}
            }
        }
    }

    /// Waits for an answer, more records, or the time to do something.
    async fn event(&mut self) -> Event {
        let timer = self.next_timer();
        let answer = async {
            match &mut self.stream {
                Some(stream) => stream.answer().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = answer => Event::Answer(answer),
            () = self.queue.woken() => Event::Woken,
            () = sleep_until(timer) => Event::Woken,
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let takes_more = self.window.has_room() || (self.window.needs_identity() && self.window.is_empty());
        let due = if takes_more { self.queue.due() } else { None };
        [due, self.window.deadline(), self.answer_due()].into_iter().flatten().min()
    }

    /// Whether it is time for a new identity: when there is something to send under it. A named producer gets none, and
    /// ends.
    fn wants_identity(&self) -> bool {
        let is_due = self.queue.due().is_some_and(|due| due <= Instant::now());
        !self.window.is_empty() || is_due || self.is_named()
    }

    fn is_named(&self) -> bool {
        !self.options.name.is_empty()
    }

    /// When the answer that is waited for is late.
    fn answer_due(&self) -> Option<Instant> {
        Some(self.window.waiting_since()? + self.options.ack_timeout)
    }

    /// Gives up on a stream that is silent, and on batches whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if is_over(self.answer_due()) || (is_over(self.window.deadline()) && self.window.is_waiting()) {
            let message = format!("a batch of {} was not answered in time", self.partition_name());
            self.stream_failed(ApiError::new(Reason::Deadline, message));
        }
        if is_over(self.window.deadline()) {
            self.stream = None;
            self.window.rewind();
            for batch in self.window.expire(now) {
                self.give_up(batch, None);
            }
        }
    }

    /// Takes what is due from the queue as far as there is room, and sends it.
    fn gather(&mut self) {
        while self.window.has_room() {
            let now = Instant::now();
            let Some(gathered) = self.queue.take(now) else { break };
            if gathered.deadline(self.options.delivery_timeout) > now {
                self.encode(gathered);
            } else {
                // It is given up before it takes a place in the sequence, which would then be missing.
                let error = self.not_in_time();
                self.settle(gathered.outcome, gathered.held_bytes, Err(error.into()));
            }
        }
        let Some(stream) = &self.stream else { return };
        let mut failed = None;
        while let Some(outgoing) = self.window.send_next(Instant::now()) {
            if let Err(error) = stream.send(&self.template, outgoing) {
                failed = Some(error);
                break;
            }
        }
        if let Some(error) = failed {
            self.stream_ended(error);
        }
    }

    fn encode(&mut self, gathered: Gathered) {
        let deadline = gathered.deadline(self.options.delivery_timeout);
        let mut builder = gathered.builder;
        let records = builder.len();
        if let Some(identity) = self.identity {
            builder.producer(identity.id, identity.epoch, self.next_sequence);
        }
        let built = builder.build();
        self.queue.give_back(builder);
        match built {
            Ok(batch) => {
                self.advance_sequence(records);
                let bytes = batch.into_bytes();
                let mut span = gathered.span;
                span.set(|| KeyValue::new("messaging.destination.name", self.template.topic.to_string()));
                span.set(|| {
                    KeyValue::new("messaging.destination.partition.id", i64::from(self.template.partition))
                });
                span.set(|| KeyValue::new("messaging.batch.message_count", records as i64));
                let mut batch = InFlight::new(bytes, gathered.outcome, gathered.held_bytes, deadline);
                batch.span = span;
                self.window.push(batch);
            }
            Err(error) => self.settle(gathered.outcome, gathered.held_bytes, Err(error.into())),
        }
    }

    fn advance_sequence(&mut self, records: usize) {
        // A batch never has more records than fit.
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.next_sequence = self.next_sequence.wrapping_add(records);
    }

    /// Opens a stream to the leader, and sends what is to be sent.
    async fn connect(&mut self) {
        if let Some(pause_until) = self.pause_until.take() {
            let until = self.window.deadline().map_or(pause_until, |deadline| deadline.min(pause_until));
            tokio::time::sleep_until(until).await;
            if until < pause_until {
                // Time is over for a batch; the pause goes on for the others.
                self.pause_until = Some(pause_until);
                return;
            }
        }
        if let Err(error) = self.open_stream().await {
            self.stream_ended(error);
        }
    }

    async fn open_stream(&mut self) -> Result<(), ApiError> {
        let deadline = self.window.deadline().unwrap_or_else(|| self.client.deadline());
        let timeout = deadline.saturating_duration_since(Instant::now()).min(self.client.attempt_timeout());
        let template = self.template.clone();
        let target = target(&template);
        let addr = self.client.locate(target, &[], deadline).await?;
        let first = std::iter::from_fn(|| self.window.send_next(Instant::now())).collect();
        let opened = ProduceStream::open(&self.client, addr, &template, first, timeout).await;
        self.stream = Some(opened.map_err(|error| self.client.note(target, error))?);
        Ok(())
    }

    fn answered(&mut self, answer: v1::ProduceStreamResponse) {
        if answer.reconnect_advised {
            self.window.drain();
        }
        if !self.window.expects(answer.request_id) {
            let message = format!("server answered batch {}, which is not due", answer.request_id);
            return self.stream_failed(ApiError::new(Reason::ConnectionLost, message));
        }
        match answer.result {
            Some(Answer::Ack(ack)) => self.acknowledged(ack),
            Some(Answer::Error(error)) => self.refused(error.into()),
            None => self.refused(ApiError::new(Reason::Internal, "server gave an empty answer")),
        }
    }

    fn acknowledged(&mut self, ack: v1::ProduceResponse) {
        self.backoff.reset();
        let Some(batch) = self.window.acknowledged() else { return };
        let append_time = ack.append_time.as_ref().and_then(varve_api::time::ms_from_timestamp);
        let ack = BatchAck {
            partition: self.template.partition,
            first_offset: ack.first_offset.map(Offset::new),
            append_time: append_time.map(Timestamp::new),
            duplicate: ack.duplicate,
        };
        self.settle(batch.outcome, batch.held_bytes, Ok(ack));
    }

    fn refused(&mut self, error: ApiError) {
        let error = self.client.note(target(&self.template), error);
        match self.window.refuse(&error) {
            Some(Refused::Again) => self.pause(&error),
            Some(Refused::GivenUp(mut batch)) => {
                if self.leave_out(&mut batch, &error) {
                    return self.window.put_back(*batch);
                }
                tracing::warn!(%error, partition = self.partition_name(), "batch refused");
                self.gave_up = Some(error.clone());
                batch.span.fail(|| error.to_string());
                self.give_up(*batch, Some(error));
            }
            None => {}
        }
    }

    /// Leaves out of a batch the records that are too large for the server, so that the others may go on. Says whether
    /// there are both.
    fn leave_out(&self, batch: &mut InFlight, error: &ApiError) -> bool {
        let limit = error.number(meta::SIZE_BYTES_MAX).filter(|_| error.reason == Reason::RecordTooLarge);
        let Some(limit) = limit.filter(|_| !batch.maybe_appended && !self.is_named()) else { return false };
        let Ok(old) = Batch::from_trusted(batch.bytes.clone()) else { return false };
        let mut left_out = Vec::new();
        let mut index = 0;
        let keep = |record: &RecordRef<'_>| {
            let size = record.size_bytes() as u64;
            if size > limit {
                left_out.push((index, too_large(size, limit)));
            }
            index += 1;
            size <= limit
        };
        let Ok(rest) = rebuilt(&old, old.producer(), &self.options, keep) else { return false };
        let Some((_, first)) = left_out.first() else { return false };
        tracing::warn!(error = %first, partition = self.partition_name(), "record refused");
        self.queue.failed(&first.clone().into());
        batch.bytes = rest.into_bytes();
        batch.outcome.leave_out(left_out);
        true
    }

    /// The server ended the stream, or it broke. Whatever the reason, what was sent may have been appended.
    fn stream_failed(&mut self, error: ApiError) {
        let error = self.client.note(target(&self.template), error);
        let Some(stream) = &self.stream else { return self.stream_ended(error) };
        self.client.stream_ended(stream.addr(), &error);
        if error.may_have_happened() {
            return self.stream_ended(error);
        }
        let message = format!("{} ended the stream: {error}", stream.addr());
        self.stream_ended(ApiError { reason: Reason::ConnectionLost, message, ..error });
    }

    fn stream_ended(&mut self, error: ApiError) {
        self.stream = None;
        if self.window.is_empty() {
            // Nothing is lost: an idle stream may end, and is opened again when it is needed.
            return self.window.rewind();
        }
        tracing::debug!(%error, partition = self.partition_name(), "stream ended");
        self.pause(&error);
        for batch in self.window.stream_ended(&error) {
            self.give_up(batch, Some(error.clone()));
        }
    }

    /// Takes a pause before the next stream. What follows from one failure makes it no longer, unless a server asks.
    fn pause(&mut self, error: &ApiError) {
        let now = Instant::now();
        let until = match (self.pause_until, error.retry_after) {
            (Some(until), Some(asked)) => until.max(now + asked),
            (Some(until), None) => until,
            (None, _) => now + retry_pause(error, &mut self.backoff, &*self.client.env().entropy),
        };
        self.pause_until = Some(until);
    }

    /// Gets a new identity for what is left, after a batch was given up: its sequences are missing to the server, which
    /// therefore takes nothing that follows them.
    async fn renew_identity(&mut self) {
        if self.is_named() {
            // A new epoch of the name would fence off our other partitions.
            let error = self.gave_up.take();
            return self.end(&error.unwrap_or_else(|| {
                ApiError::new(
                    Reason::OutOfOrderSequence,
                    "an earlier batch was given up; make a new producer",
                )
            }));
        }
        let (lost, kept) = self.window.take_for_identity();
        for batch in lost {
            let error =
                ApiError::new(Reason::CommitUnknown, "an earlier batch was given up, this may be there");
            self.give_up(batch, Some(error));
        }
        let deadline = kept.first().map_or_else(|| self.client.deadline(), |batch| batch.deadline);
        let answer = tokio::time::timeout_at(deadline, self.client.init_producer("")).await;
        let answer = answer.unwrap_or_else(|_| Err(self.not_in_time().into()));
        let identity = match answer.and_then(Identity::try_from) {
            Ok(identity) => identity,
            Err(error) => return self.no_identity(kept, &error),
        };
        self.identity = Some(identity);
        self.next_sequence = Sequence::new(0);
        kept.into_iter().for_each(|batch| self.restamp(batch, identity));
    }

    /// Gives up what needs an identity now; what comes later tries again.
    fn no_identity(&mut self, kept: Vec<InFlight>, error: &ClientError) {
        self.window.lose_identity();
        for batch in kept {
            self.settle(batch.outcome, batch.held_bytes, Err(error.clone()));
        }
        while let Some(gathered) = self.queue.take(Instant::now()) {
            self.settle(gathered.outcome, gathered.held_bytes, Err(error.clone()));
        }
    }

    fn restamp(&mut self, mut batch: InFlight, identity: Identity) {
        let producer = Some((identity.id, identity.epoch, self.next_sequence));
        let old = Batch::from_trusted(batch.bytes.clone()).map_err(|error| BuildError::Header(error).into());
        match old.and_then(|old| rebuilt(&old, producer, &self.options, |_| true)) {
            Ok(encoded) => {
                self.advance_sequence(encoded.record_count() as usize);
                batch.bytes = encoded.into_bytes();
                self.window.push(batch);
            }
            Err(error) => self.settle(batch.outcome, batch.held_bytes, Err(error)),
        }
    }

    /// Ends the producer: nothing more can be sent.
    fn end(&mut self, error: &ApiError) {
        self.queue.close(error.clone().into());
        let batches = self.window.take_all();
        self.window = Window::new(self.options.idempotent);
        for batch in batches {
            self.give_up(batch, Some(error.clone()));
        }
        while let Some(gathered) = self.queue.take(Instant::now()) {
            self.settle(gathered.outcome, gathered.held_bytes, Err(error.clone().into()));
        }
    }

    /// Tells the records of a batch that it was given up, and why.
    fn give_up(&self, batch: InFlight, error: Option<ApiError>) {
        let error = error.or(batch.last_error).unwrap_or_else(|| self.not_in_time());
        let error = if batch.maybe_appended && !error.may_have_happened() {
            let message = format!("an earlier attempt may have succeeded; the last one: {error}");
            ApiError { metadata: error.metadata, ..ApiError::new(Reason::CommitUnknown, message) }
        } else {
            error
        };
        if self.is_named() {
            // It ends with this, so nothing is taken any more once somebody knows.
            self.queue.close(error.clone().into());
        }
        self.settle(batch.outcome, batch.held_bytes, Err(error.into()));
    }

    fn settle(&self, outcome: Promise, held_bytes: usize, result: Result<BatchAck, ClientError>) {
        if let Err(error) = &result {
            self.queue.failed(error);
        }
        self.in_flight.add_permits(held_bytes);
        outcome.settle(result);
    }

    fn not_in_time(&self) -> ApiError {
        let timeout = self.options.delivery_timeout;
        let message = format!("{} took no batch within {timeout:?}", self.partition_name());
        ApiError::new(Reason::Deadline, message)
    }

    fn partition_name(&self) -> String {
        format!("{}/{}", self.template.topic, self.template.partition)
    }
}

fn target(template: &Template) -> Target<'_> {
    Target { topic: &template.topic, partition: template.partition, replica: Replica::Leader }
}

/// As the server says it of a batch's first record.
fn too_large(size: u64, limit: u64) -> ApiError {
    let message = format!("record takes {size} bytes: the limit is {limit}, so split it");
    ApiError::new(Reason::RecordTooLarge, message)
        .with(meta::SIZE_BYTES, size)
        .with(meta::SIZE_BYTES_MAX, limit)
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

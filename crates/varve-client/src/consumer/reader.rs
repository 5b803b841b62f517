use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason};
use varve_api::time::{duration_to_proto, ms_from_timestamp, timestamp_from_ms};
use varve_api::v1;
use varve_api::v1::ReadConsistency;
use varve_api::v1::read_from::Start;
use varve_record::{Batch, Offset, Timestamp};
use varve_telemetry::{KeyValue, SpanKind};

use super::batch::ConsumedBatch;
use super::lag::LagCheck;
use crate::attempts::Attempts;
use crate::client::{Replica, Target, log_service};
use crate::{Client, ClientError, Picker};

/// For how many heartbeats a stream may be silent before another is opened.
const HEARTBEATS_MISSED_MAX: u32 = 3;

/// What a reader hands to the consumer: some batches of one partition, or why there are no more.
pub(crate) type Piece = Result<Vec<ConsumedBatch>, ClientError>;

/// Where in its partition a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Start,
    Since(Timestamp),
    At(Offset),
}

/// Reads one partition: what was asked for, and how far it got. A stream that breaks is opened again from there.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) topic: TopicName,
    pub(crate) partition: u32,
    pub(crate) position: Position,
    pub(crate) until: Option<Offset>,
    pub(crate) until_time: Option<Timestamp>,
    /// How many records are still wanted.
    pub(crate) max_records: Option<u64>,
    pub(crate) consistency: ReadConsistency,
    pub(crate) clamp: bool,
    pub(crate) retry_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) picker: Arc<dyn Picker>,
    /// Some server has told that what lies before is committed.
    pub(crate) committed: Offset,
    /// The leader is to say whether the log goes so far as the reader wants to begin.
    pub(crate) asks_leader: bool,
    /// Batches appended before are not wanted: a server that lags begins with them where it has none that is.
    pub(crate) since: Option<Timestamp>,
    /// Servers on which what is to be read next is damaged.
    pub(crate) damaged_on: Vec<Arc<str>>,
}

/// Why a stream is not read any more.
enum End {
    /// All was read, or nobody wants more.
    Done,
    /// Another stream may do better.
    Broken(ApiError),
    /// The server has less than is committed; another has more.
    Behind(ApiError),
    /// It makes no sense to go on.
    Fatal(ClientError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Broken(error)
    }
}

impl Session {
    /// Reads until a bound is reached, nobody listens, or the table of errors says to give up.
    pub(crate) async fn run(mut self, pieces: mpsc::Sender<Piece>) {
        let mut attempts = self.client.attempts(Instant::now() + self.retry_timeout);
        loop {
            let tried_on = match self.read(&pieces, &mut attempts).await {
                End::Done => return,
                End::Fatal(error) => Err(error),
                End::Behind(error) => attempts.wait(error).await.map_err(ClientError::from),
                End::Broken(error) if self.may_go_elsewhere(&error, &attempts) => {
                    attempts.elsewhere(error).map_err(ClientError::from)
                }
                End::Broken(error) => attempts.after(error, true).await.map_err(ClientError::from),
            };
            if let Err(error) = tried_on {
                // Nobody may be listening.
                drop(pieces.send(Err(error)).await);
                return;
            }
        }
    }

    /// Whether this is about one server with which there is no TLS, and there are others.
    fn may_go_elsewhere(&self, error: &ApiError, attempts: &Attempts) -> bool {
        self.client.may_go_elsewhere(self.target(), error, attempts.avoided())
    }

    /// Finds a server, and reads what it gives.
    async fn read(&mut self, pieces: &mpsc::Sender<Piece>, attempts: &mut Attempts) -> End {
        if self.is_done() {
            return End::Done;
        }
        let avoided = [attempts.avoided(), &self.damaged_on].concat();
        let addr = match self.client.locate(self.target(), &avoided, attempts.deadline()).await {
            Ok(addr) => addr,
            Err(error) => return End::Broken(error),
        };
        match self.read_from(&addr, pieces, attempts).await {
            End::Done => End::Done,
            end => {
                attempts.avoid(&addr);
                self.left(&addr, end)
            }
        }
    }

    /// What to do after a server was left.
    fn left(&mut self, addr: &Arc<str>, end: End) -> End {
        match end {
            End::Broken(error) if error.reason == Reason::OffsetBeyondTail => self.beyond_tail(addr, error),
            End::Broken(error) if error.reason == Reason::DataLoss => self.damaged(addr, error.into()),
            End::Broken(error) => {
                self.client.stream_ended(addr, &error);
                End::Broken(self.client.note(self.target(), error))
            }
            end => end,
        }
    }

    async fn read_from(
        &mut self,
        addr: &Arc<str>,
        pieces: &mpsc::Sender<Piece>,
        attempts: &mut Attempts,
    ) -> End {
        let mut out_of_service = pin!(self.client.out_of_service(addr));
        let call = |connection| {
            let request = self.request();
            async move { log_service(connection).consume_stream(request).await }
        };
        // The call counts as under way until the stream is left.
        let (mut stream, _outstanding) = match self.client.attempt(addr, attempts.timeout(), &call).await {
            Ok(opened) => opened,
            Err(error) => return error.into(),
        };
        let mut lag = (!self.client.leads(addr, self.target())).then(LagCheck::default);
        let silence_max = self.heartbeat_interval * HEARTBEATS_MISSED_MAX;
        let mut is_new = true;
        loop {
            let message = tokio::select! {
                biased;
                message = tokio::time::timeout(silence_max, stream.message()) => message,
                () = &mut out_of_service => {
                    return ApiError::new(Reason::ShuttingDown, format!("{addr} goes out of service")).into();
                }
            };
            if !is_new && !matches!(message, Ok(Ok(Some(_)))) {
                // The time for other attempts begins now. Counted from the last message, whoever was stopped for longer would have none.
                attempts.progress(Instant::now() + self.retry_timeout);
            }
            let message = match message {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return self.ended(addr, is_new),
                Ok(Err(status)) => return self.client.failure(addr, &status).into(),
                Err(_) => return ApiError::new(Reason::Deadline, format!("{addr} went silent")).into(),
            };
            is_new = false;
            self.asks_leader = false;
            let piece = message.batch.unwrap_or_default();
            let is_heartbeat = piece.batches.is_empty();
            let batches = match self.take(piece) {
                Ok(batches) => batches,
                Err(error @ ClientError::Damaged { .. }) => return self.damaged(addr, error),
                Err(error) => return End::Fatal(error),
            };
            if is_heartbeat && lag.as_mut().is_some_and(|lag| lag.is_behind(self)) {
                return End::Behind(ApiError::new(Reason::NoLeader, format!("{addr} lags behind")));
            }
            attempts.progress(Instant::now() + self.retry_timeout);
            if !batches.is_empty() {
                self.note_consumed(&batches);
                attempts.avoid_none();
                if pieces.send(Ok(batches)).await.is_err() {
                    return End::Done;
                }
            }
            if self.is_done() {
                return End::Done;
            }
            if message.reconnect_advised {
                return ApiError::new(Reason::ShuttingDown, format!("{addr} will close soon")).into();
            }
        }
    }

    /// Tells of batches that are in a recorded trace, or that a trace begins with by chance.
    fn note_consumed(&self, batches: &[ConsumedBatch]) {
        let spans = &self.client.env().telemetry.spans;
        if !spans.is_on() {
            return;
        }
        for batch in batches {
            let mut span = spans.begin_linked("consume", SpanKind::Consumer, batch.traces());
            span.set(|| KeyValue::new("messaging.destination.name", batch.topic.to_string()));
            span.set(|| KeyValue::new("messaging.destination.partition.id", i64::from(batch.partition)));
            span.set(|| KeyValue::new("messaging.batch.message_count", batch.wanted_records() as i64));
        }
    }

    /// What is to be read next is damaged on a server, or was on its way: another replica may have it whole.
    fn damaged(&mut self, addr: &Arc<str>, error: ClientError) -> End {
        if !self.damaged_on.contains(addr) {
            self.damaged_on.push(addr.clone());
        }
        if self.client.has_server_besides(self.target(), &self.damaged_on) {
            let message = format!("{addr} has damage; trying another: {error}");
            return End::Behind(ApiError::new(Reason::DataLoss, message));
        }
        End::Fatal(error)
    }

    /// A server's log ends before the offset that is to be read next. If another has told of that offset, this one lags;
    /// else the leader has to say so before it is believed.
    fn beyond_tail(&mut self, addr: &str, error: ApiError) -> End {
        let said_by_leader = self.asks_leader || self.consistency == ReadConsistency::Linearizable;
        let is_known = matches!(self.position, Position::At(offset) if offset <= self.committed);
        if said_by_leader {
            return End::Fatal(error.into());
        }
        self.asks_leader = !is_known;
        End::Behind(ApiError { message: format!("{addr} lags behind: {}", error.message), ..error })
    }

    fn request(&self) -> v1::ConsumeStreamRequest {
        let start = match self.position {
            Position::Start => None,
            Position::Since(time) => Some(Start::Time(timestamp_from_ms(time.get()))),
            Position::At(offset) => Some(Start::Offset(offset.get())),
        };
        let bounds = v1::ReadBounds {
            max_records: self.max_records,
            max_bytes: None,
            until_offset: self.until.map(Offset::get),
            until_time: self.until_time.map(|time| timestamp_from_ms(time.get())),
        };
        let read = v1::ConsumeRequest {
            topic: self.topic.to_string(),
            partition: self.partition,
            from: Some(v1::ReadFrom { start, clamp: self.clamp }),
            bounds: self.is_bounded().then_some(bounds),
            consistency: self.consistency() as i32,
            min_applied_offset: None,
            format: v1::ReadFormat::Batches as i32,
            max_wait: None,
        };
        let heartbeat_interval = Some(duration_to_proto(self.heartbeat_interval));
        v1::ConsumeStreamRequest { read: Some(read), heartbeat_interval }
    }

    /// Takes what is wanted of a message, and moves on.
    fn take(&mut self, message: v1::ConsumeResponse) -> Result<Vec<ConsumedBatch>, ClientError> {
        let log_start = Offset::new(message.log_start_offset.min(Offset::MAX.get()));
        self.committed = self.committed.max(Offset::new(message.high_watermark.min(Offset::MAX.get())));
        let mut batches = Vec::with_capacity(message.batches.len());
        for encoded in message.batches {
            let batch = Batch::decode(encoded.data);
            let damaged = |error| ClientError::Damaged { partition: self.partition, source: Arc::new(error) };
            let append_time = encoded.append_time.as_ref().and_then(ms_from_timestamp);
            batches.extend(self.want(batch.map_err(damaged)?, append_time, log_start)?);
        }
        if !matches!(self.position, Position::At(_)) {
            // Nothing came yet, but now it is known where it will.
            self.position = Position::At(Offset::new(message.next_offset.min(Offset::MAX.get())));
        }
        Ok(batches)
    }

    /// The batch with what is wanted of it, if anything is: it may begin with records that are trimmed, since batches
    /// are not cut.
    fn want(
        &mut self,
        batch: Batch,
        append_time: Option<i64>,
        log_start: Offset,
    ) -> Result<Option<ConsumedBatch>, ClientError> {
        let (base, last) = (batch.base_offset(), batch.last_offset());
        let due = match self.position {
            Position::At(due) if base > due && !self.clamp => {
                return Err(ClientError::Gap { partition: self.partition, expected: due, found: base });
            }
            // Without `clamp` a server that begins here found it kept, and what was trimmed since must be no gap.
            Position::At(due) if !self.clamp => due,
            Position::At(due) => due.max(base).max(log_start),
            Position::Start | Position::Since(_) => base.max(log_start),
        };
        if last < due {
            return Ok(None);
        }
        let Some(after) = last.checked_add(1) else { return Ok(None) };
        let end = self.until.map_or(after, |until| until.min(after));
        self.position = Position::At(end.max(due));
        self.damaged_on.clear();
        let append_time = Timestamp::new(append_time.unwrap_or_else(|| batch.max_timestamp().get()));
        if self.since.is_some_and(|since| append_time < since) {
            return Ok(None);
        }
        if let (Some(left), Some(wanted)) = (&mut self.max_records, end.distance_from(due)) {
            *left = left.saturating_sub(wanted);
        }
        Ok((due < end).then(|| ConsumedBatch {
            topic: self.topic.clone(),
            partition: self.partition,
            append_time,
            batch,
            wanted: due..end,
        }))
    }

    /// The server ended the stream: it came to a bound, be it one that only it can tell. Where it should not have, what
    /// is missing is asked for again.
    fn ended(&self, addr: &str, is_new: bool) -> End {
        let is_over = match (self.position, self.until) {
            _ if self.until_time.is_some() => true,
            // A clamped start may lie anywhere, but a server that has a piece of it says so before it ends.
            (Position::At(offset), Some(until)) => offset >= until || (self.clamp && is_new),
            // The start, which no message told, is not before the end.
            (Position::Start | Position::Since(_), Some(_)) => true,
            (_, None) => false,
        };
        match is_over {
            true => End::Done,
            false => ApiError::new(Reason::ConnectionLost, format!("{addr} ended the stream")).into(),
        }
    }

    /// Whether there is an end to ask for.
    fn is_bounded(&self) -> bool {
        self.until.is_some() || self.until_time.is_some() || self.max_records.is_some()
    }

    fn is_done(&self) -> bool {
        if self.max_records == Some(0) {
            return true;
        }
        matches!((self.position, self.until), (Position::At(offset), Some(until)) if offset == until)
    }

    pub(crate) fn target(&self) -> Target<'_> {
        let replica = match self.consistency() {
            ReadConsistency::Linearizable => Replica::Leader,
            _ => Replica::Any(&*self.picker),
        };
        Target { topic: &self.topic, partition: self.partition, replica }
    }

    fn consistency(&self) -> ReadConsistency {
        if self.asks_leader { ReadConsistency::Linearizable } else { self.consistency }
    }
}

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason};
use varve_api::time::{duration_to_proto, ms_from_timestamp, timestamp_from_ms};
use varve_api::v1;
use varve_api::v1::ReadConsistency;
use varve_api::v1::read_from::Start;
use varve_record::{Batch, Offset, Timestamp};

use super::batch::ConsumedBatch;
use crate::attempts::Attempts;
use crate::client::{Target, at, log_service};
use crate::{Client, ClientError};

/// How often the server is to say that it is there while there is nothing to read.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a stream may be silent before another is opened.
const SILENCE_MAX: Duration = Duration::from_secs(30);

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
}

/// Why a stream is not read any more.
enum End {
    /// All was read, or nobody wants more.
    Done,
    /// Another stream may do better.
    Broken(ApiError),
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
            let error = match self.read(&pieces, &mut attempts).await {
                End::Done => return,
                End::Fatal(error) => error,
                End::Broken(error) => {
                    let error = self.client.note(self.target(), error);
                    match attempts.after(error, true).await {
                        Ok(()) => continue,
                        Err(error) => error.into(),
                    }
                }
            };
            // Nobody may be listening.
            drop(pieces.send(Err(error)).await);
            return;
        }
    }

    async fn read(&mut self, pieces: &mpsc::Sender<Piece>, attempts: &mut Attempts) -> End {
        if self.is_done() {
            return End::Done;
        }
        let (addr, mut stream) = match self.open(attempts).await {
            Ok(opened) => opened,
            Err(error) => return error.into(),
        };
        let mut is_new = true;
        loop {
            let message = match tokio::time::timeout(SILENCE_MAX, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return self.ended(&addr, is_new),
                Ok(Err(status)) => return at(&addr, ApiError::from_status(&status)).into(),
                Err(_) => return ApiError::new(Reason::Deadline, format!("{addr} went silent")).into(),
            };
            is_new = false;
            attempts.progress(Instant::now() + self.retry_timeout);
            let batches = match self.take(message.batch.unwrap_or_default()) {
                Ok(batches) => batches,
                Err(error) => return End::Fatal(error),
            };
            if !batches.is_empty() && pieces.send(Ok(batches)).await.is_err() {
                return End::Done;
            }
            if self.is_done() {
                return End::Done;
            }
            if message.reconnect_advised {
                return ApiError::new(Reason::ShuttingDown, format!("{addr} will close soon")).into();
            }
        }
    }

    async fn open(
        &self,
        attempts: &Attempts,
    ) -> Result<(String, Streaming<v1::ConsumeStreamResponse>), ApiError> {
        let addr = self.client.locate(self.target(), attempts.deadline()).await?;
        let call = |channel| {
            let request = self.request();
            async move { log_service(channel).consume_stream(request).await }
        };
        let stream = self.client.attempt(&addr, attempts.timeout(), &call).await?;
        Ok((addr, stream))
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
            consistency: self.consistency as i32,
            min_applied_offset: None,
            format: v1::ReadFormat::Batches as i32,
            max_wait: None,
        };
        let heartbeat_interval = Some(duration_to_proto(HEARTBEAT_INTERVAL));
        v1::ConsumeStreamRequest { read: Some(read), heartbeat_interval }
    }

    /// Takes what is wanted of a message, and moves on.
    fn take(&mut self, message: v1::ConsumeResponse) -> Result<Vec<ConsumedBatch>, ClientError> {
        let log_start = Offset::new(message.log_start_offset.min(Offset::MAX.get()));
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
        if let (Some(left), Some(wanted)) = (&mut self.max_records, end.distance_from(due)) {
            *left = left.saturating_sub(wanted);
        }
        let append_time = Timestamp::new(append_time.unwrap_or_else(|| batch.max_timestamp().get()));
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

    fn target(&self) -> Target<'_> {
        let needs_leader = self.consistency == ReadConsistency::Linearizable;
        Target { topic: &self.topic, partition: self.partition, needs_leader }
    }
}

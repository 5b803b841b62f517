//! A read, from its start to its bounds, piece by piece.

use std::collections::VecDeque;
use std::future::Future;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_api::v1::read_from;
use varve_env::Env;
use varve_record::{BatchError, Limits, Offset, OwnedRecords, Record, Term, Timestamp};
use varve_replica::{Consistency, Follower, Partition, ReadError, Start};
use varve_storage::StoredBatch;

use super::Shared;
use super::convert::{consistency, from_wire_time, to_wire_time};
use super::workshop::{Effort, Workshop};
use crate::error::{invalid, read_error, timed_out};
use crate::limits::{FRESHNESS_TIMEOUT, RECORD_OVERHEAD_BYTES};
use crate::telemetry::{OpenStreams, StreamPlace};
use crate::topics::Topic;

/// A read that is under way.
#[derive(Debug)]
pub(crate) struct Session {
    env: Env,
    workshop: Workshop,
    topic: Arc<Topic>,
    number: u32,
    partition: Partition,
    follower: Follower,
    format: Format,
    /// The next offset to answer.
    next: Offset,
    /// Answer nothing from this offset on.
    until: Option<Offset>,
    /// Answer nothing that was appended at this time or later.
    until_time: Option<Timestamp>,
    bytes_left: Option<u64>,
    answered_any: bool,
    /// A bound was reached.
    ended: bool,
    /// What was read and not yet answered, in [`Format::Records`]: a batch that did not fit into a piece, and those after.
    unpacked: Option<Unpacked>,
    fetched: VecDeque<StoredBatch>,
}

/// Whether an offset is asked for that lies beyond what is known here.
fn is_beyond_tail(partition: &Partition, from: Option<&v1::ReadFrom>) -> bool {
    let start = from.and_then(|from| from.start.as_ref());
    let high_watermark = partition.progress().high_watermark.get();
    matches!(start, Some(read_from::Start::Offset(offset)) if *offset > high_watermark)
}

/// In what form records are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Records,
    Batches,
}

/// How long a follower waits for word from its leader before it answers with what it knows.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// What becomes of a read that starts at an offset beyond the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeyondTail {
    /// It is refused.
    Refuse,
    /// It waits until that offset is there.
    Wait,
}

impl BeyondTail {
    fn waits_for(self, offset: u64, partition: &Partition) -> bool {
        let offset = Offset::new(offset);
        self == Self::Wait && offset > partition.progress().high_watermark && offset < Offset::MAX
    }
}

/// A batch whose records are being answered.
#[derive(Debug)]
struct Unpacked {
    /// Those that are still to come.
    records: Peekable<OwnedRecords>,
    term: Term,
    append_time: Timestamp,
}

/// A record with what its batch knows of it.
#[derive(Clone, Debug)]
pub(crate) struct ReadRecord {
    pub(crate) record: Record,
    pub(crate) term: Term,
    pub(crate) append_time: Timestamp,
}

/// Part of a partition, and how far the partition was.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) records: Vec<ReadRecord>,
    pub(crate) batches: Vec<StoredBatch>,
    pub(crate) next: Offset,
    log_start_offset: Offset,
    high_watermark: Offset,
}

impl Session {
    /// Finds the start of a read of a partition that lies here, as fresh as it asks.
    pub(crate) async fn open(
        shared: &Shared,
        topic: Arc<Topic>,
        partition: Partition,
        request: v1::ConsumeRequest,
        beyond_tail: BeyondTail,
    ) -> Result<Self, ApiError> {
        let number = request.partition;
        let mut session = Self {
            env: shared.env.clone(),
            workshop: shared.workshop.clone(),
            follower: partition.follow(),
            topic,
            number,
            partition,
            format: format(request.format)?,
            next: Offset::default(),
            until: None,
            until_time: None,
            bytes_left: None,
            answered_any: false,
            ended: false,
            unpacked: None,
            fetched: VecDeque::new(),
        };
        let freshness = session.freshen(&request);
        within_freshness(&session.topic, number, freshness).await?;
        if beyond_tail == BeyondTail::Refuse && is_beyond_tail(&session.partition, request.from.as_ref()) {
            session.catch_up(shared).await;
        }
        session.next = session.start(request.from, beyond_tail).await?;
        session.bound(request.bounds.unwrap_or_default())?;
        Ok(session)
    }

    /// Follows the leader up to where it is now, if this replica does not lead: what was acknowledged there may not be known
    /// here yet. Where the leader cannot be asked, the read goes on with what is known.
    pub(crate) async fn catch_up(&self, shared: &Shared) {
        if self.partition.progress().leader != Some(shared.view.this()) {
            drop(timeout(CATCH_UP_TIMEOUT, self.partition.barrier(Consistency::Linearizable)).await);
        }
    }

    /// Whether all that was asked for is answered.
    pub(crate) fn ended(&self) -> bool {
        self.ended || self.until.is_some_and(|until| self.next >= until)
    }

    /// The next piece, of about `bytes_max` at most, or of the first batch or record if that is larger. Empty at the tail,
    /// and at the end.
    pub(crate) async fn piece(&mut self, bytes_max: usize) -> Result<Piece, ApiError> {
        let (mut records, mut batches) = (Vec::new(), Vec::new());
        if !self.ended() {
            match self.format {
                Format::Batches => batches = self.take_batches(bytes_max).await?,
                Format::Records => records = self.take_records(bytes_max).await?,
            }
        }
        self.note_given(&records, &batches);
        let progress = self.partition.progress();
        let (log_start_offset, high_watermark) = (progress.log_start_offset, progress.high_watermark);
        Ok(Piece { records, batches, next: self.next, log_start_offset, high_watermark })
    }

    /// Counts what is given.
    fn note_given(&self, records: &[ReadRecord], batches: &[StoredBatch]) {
        let (mut count, mut bytes) = (records.len() as u64, 0);
        for ReadRecord { record, .. } in records {
            bytes += record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
        }
        for stored in batches {
            count += u64::from(stored.batch.record_count());
            bytes += stored.batch.size_bytes();
        }
        if count > 0 {
            self.topic.traffic.consumed(count, bytes);
        }
    }

    /// A place among the streams, of which it is told how far it is.
    pub(crate) fn place(&self, streams: &OpenStreams) -> StreamPlace {
        let place = streams.consume(Arc::clone(&self.topic), self.number, self.partition.clone());
        place.given(self.next.get());
        place
    }

    /// What was answered lies before this offset.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// A piece with nothing in it, to say how far the partition is.
    pub(crate) fn empty_piece(&self) -> Piece {
        let progress = self.partition.progress();
        let (log_start_offset, high_watermark) = (progress.log_start_offset, progress.high_watermark);
        Piece { records: Vec::new(), batches: Vec::new(), next: self.next, log_start_offset, high_watermark }
    }

    /// Returns once there is more to read, or nothing that was asked for can come any more. The caller bounds the time.
    pub(crate) async fn wait(&mut self) -> Result<(), ApiError> {
        let (topic, until_time) = (Arc::clone(&self.topic), self.until_time);
        let mut follower = self.follower.clone();
        loop {
            let time_is_up = reached(&self.env, until_time);
            let outcome = tokio::select! {
                biased;
                () = topic.deleted() => return Err(topic.deleted_error()),
                progress = follower.past(self.next.next()) => Some(progress),
                () = time_is_up => None,
            };
            match outcome {
                Some(progress) => return progress.map(|_| ()).map_err(|error| self.explain(error)),
                // What is appended from now on is too late; what is on its way may still be in time.
                None if self.has_all().await => {
                    self.ended = true;
                    return Ok(());
                }
                None => tokio::time::sleep(ON_ITS_WAY_PAUSE).await,
            }
        }
    }

    /// Whether there is nothing to read beyond what was read: here, and at the leader, which may have what has not come here yet.
    /// Where no leader can be asked nobody knows.
    async fn has_all(&self) -> bool {
        let is_at_end = || self.partition.status().next_offset == self.next;
        if !is_at_end() {
            return false;
        }
        let barrier = timeout(CATCH_UP_TIMEOUT, self.partition.barrier(Consistency::Linearizable)).await;
        matches!(barrier, Ok(Ok(committed)) if committed <= self.next) && is_at_end()
    }

    fn freshen(
        &self,
        request: &v1::ConsumeRequest,
    ) -> impl Future<Output = Result<(), ApiError>> + Send + use<> {
        let (topic, number, partition) = (Arc::clone(&self.topic), self.number, self.partition.clone());
        let (level, at_least) =
            (consistency(request.consistency), request.min_applied_offset.map(Offset::new));
        async move {
            let explain = |error| topic.explain(read_error(error, topic.at(number)));
            let barrier = partition.barrier(level?).await.map_err(explain)?;
            let at_least = at_least.map_or(barrier, |at_least| at_least.max(barrier));
            tokio::select! {
                biased;
                () = topic.deleted() => Err(topic.deleted_error()),
                applied = partition.wait_applied(at_least) => applied.map_err(explain),
            }
        }
    }

    async fn start(&self, from: Option<v1::ReadFrom>, beyond_tail: BeyondTail) -> Result<Offset, ApiError> {
        let clamp = from.as_ref().is_some_and(|from| from.clamp);
        let start = match from.and_then(|from| from.start) {
            None => Start::Earliest,
            Some(read_from::Start::Offset(offset)) if beyond_tail.waits_for(offset, &self.partition) => {
                return Ok(Offset::new(offset));
            }
            Some(read_from::Start::Offset(offset)) => Start::Offset(Offset::new(offset)),
            Some(read_from::Start::TailOffset(records)) => Start::TailMinus(records),
            Some(read_from::Start::Time(time)) => Start::Time(from_wire_time("from.time", &time)?),
        };
        self.partition.resolve(start, clamp).await.map_err(|error| self.explain(error))
    }

    fn bound(&mut self, bounds: v1::ReadBounds) -> Result<(), ApiError> {
        // Offsets are dense, so that so many records end at an offset.
        let by_count = bounds.max_records.map(|records| self.next.get().saturating_add(records));
        let until = [bounds.until_offset, by_count].into_iter().flatten().min();
        self.until = until.map(|until| Offset::new(until).min(Offset::MAX));
        self.until_time =
            bounds.until_time.as_ref().map(|time| from_wire_time("bounds.until_time", time)).transpose()?;
        self.bytes_left = bounds.max_bytes;
        Ok(())
    }

    async fn take_batches(&mut self, bytes_max: usize) -> Result<Vec<StoredBatch>, ApiError> {
        let mut batches = self.read(self.read_bytes(bytes_max)).await?;
        let mut taken = 0;
        for stored in &batches {
            if self.is_too_late(stored.append_time) || !self.spend(stored.batch.size_bytes()) {
                self.ended = true;
                break;
            }
            taken += 1;
            self.next = stored.batch.last_offset().next();
        }
        batches.truncate(taken);
        if let Some(until) = self.until {
            self.next = self.next.min(until);
        }
        Ok(batches)
    }

    async fn take_records(&mut self, bytes_max: usize) -> Result<Vec<ReadRecord>, ApiError> {
        let mut taken = Vec::new();
        let mut left = bytes_max;
        while left > 0 && !self.ended() {
            let mut unpacked = match self.next_unpacked(bytes_max).await {
                Ok(Some(unpacked)) => unpacked,
                Ok(None) => break,
                // What comes before a flaw is sound; the next piece runs into it.
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error),
            };
            match self.take_from(&mut unpacked, &mut taken, &mut left)? {
                Finished::Batch => {}
                Finished::Piece => self.unpacked = Some(unpacked),
            }
        }
        Ok(taken)
    }

    /// The batch to go on with: what is left of the last one, or the next.
    async fn next_unpacked(&mut self, bytes_max: usize) -> Result<Option<Unpacked>, ApiError> {
        if let Some(unpacked) = self.unpacked.take() {
            return Ok(Some(unpacked));
        }
        if self.fetched.is_empty() {
            self.fetched = self.read(self.read_bytes(bytes_max)).await?.into();
        }
        let Some(stored) = self.fetched.pop_front() else { return Ok(None) };
        if self.is_too_late(stored.append_time) {
            self.ended = true;
            return Ok(None);
        }
        self.unpack(stored).await.map(Some)
    }

    async fn unpack(&self, stored: StoredBatch) -> Result<Unpacked, ApiError> {
        let batch = stored.batch;
        let effort = Effort::to_unpack(&batch);
        let records = self.workshop.run(effort, move || batch.records(&Limits::default())).await;
        let records = records.map_err(|error| self.unreadable(&error))?;
        let records = records.into_owned().peekable();
        Ok(Unpacked { records, term: stored.log_id.term, append_time: stored.append_time })
    }

    /// Takes records off a batch until it, the piece or the read is at its end.
    fn take_from(
        &mut self,
        unpacked: &mut Unpacked,
        taken: &mut Vec<ReadRecord>,
        left: &mut usize,
    ) -> Result<Finished, ApiError> {
        while let Some(next) = unpacked.records.peek() {
            let record = next.as_ref().map_err(|error| self.unreadable(error))?;
            let (offset, payload) = (record.offset, payload_bytes(record));
            if offset < self.next {
                unpacked.records.next();
                continue;
            }
            let cost = payload + RECORD_OVERHEAD_BYTES;
            if self.ended() || (cost > *left && !taken.is_empty()) {
                *left = 0;
                return Ok(Finished::Piece);
            }
            if !self.spend(payload) {
                self.ended = true;
                return Ok(Finished::Piece);
            }
            *left = left.saturating_sub(cost);
            self.next = offset.next();
            let Some(Ok(record)) = unpacked.records.next() else { break };
            taken.push(ReadRecord { record, term: unpacked.term, append_time: unpacked.append_time });
        }
        Ok(Finished::Batch)
    }

    async fn read(&self, bytes_max: usize) -> Result<Vec<StoredBatch>, ApiError> {
        if self.next > self.partition.progress().high_watermark {
            return Ok(Vec::new());
        }
        let read = self.partition.read(self.next, self.until, bytes_max).await;
        Ok(read.map_err(|error| self.explain(error))?.batches)
    }

    /// No more than what may still be answered is read.
    fn read_bytes(&self, bytes_max: usize) -> usize {
        let left = self.bytes_left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        bytes_max.min(left).max(1)
    }

    fn is_too_late(&self, append_time: Timestamp) -> bool {
        self.until_time.is_some_and(|until| append_time >= until)
    }

    /// Counts bytes that are answered; false if they are too many. The first of a read never are, so that it gets on.
    fn spend(&mut self, bytes: usize) -> bool {
        let first = !std::mem::replace(&mut self.answered_any, true);
        match self.bytes_left.as_mut() {
            None => true,
            Some(left) if bytes as u64 <= *left || first => {
                *left = left.saturating_sub(bytes as u64);
                true
            }
            Some(_) => false,
        }
    }

    fn explain(&self, error: ReadError) -> ApiError {
        self.topic.explain(read_error(error, self.topic.at(self.number)))
    }

    /// A batch was checked when it came in and its checksum when it was read, so that this is nobody's damage but ours.
    fn unreadable(&self, error: &BatchError) -> ApiError {
        let message = format!("{} at offset {}: {error}", self.topic.at(self.number), self.next);
        ApiError::new(Reason::Internal, message)
    }
}

/// How long a read to a time waits for what was appended in time to be committed.
const ON_ITS_WAY_PAUSE: Duration = Duration::from_millis(5);

/// Why no more records are taken off a batch.
enum Finished {
    /// It has no more.
    Batch,
    /// The piece is full, or the read at its end.
    Piece,
}

impl Piece {
    /// Whether it answers nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.batches.is_empty()
    }

    /// As the wire has it.
    pub(crate) fn into_response(self) -> v1::ConsumeResponse {
        v1::ConsumeResponse {
            records: self.records.into_iter().map(ReadRecord::into_wire).collect(),
            batches: self.batches.into_iter().map(encoded_batch).collect(),
            next_offset: self.next.get(),
            log_start_offset: self.log_start_offset.get(),
            high_watermark: self.high_watermark.get(),
        }
    }
}

impl ReadRecord {
    fn into_wire(self) -> v1::Record {
        let header = |header: varve_record::Header| v1::Header { name: header.name, value: header.value };
        v1::Record {
            offset: self.record.offset.get(),
            key: self.record.key,
            value: self.record.value,
            headers: self.record.headers.into_iter().map(header).collect(),
            create_time: Some(to_wire_time(self.record.timestamp)),
            append_time: Some(to_wire_time(self.append_time)),
        }
    }
}

/// What `max_bytes` of a read counts.
fn payload_bytes(record: &Record) -> usize {
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|header| header.name.len() + len(&header.value));
    len(&record.key) + len(&record.value) + headers.sum::<usize>()
}

fn encoded_batch(stored: StoredBatch) -> v1::EncodedBatch {
    v1::EncodedBatch { append_time: Some(to_wire_time(stored.append_time)), data: stored.batch.into_bytes() }
}

fn format(format: i32) -> Result<Format, ApiError> {
    match v1::ReadFormat::try_from(format) {
        Ok(v1::ReadFormat::Unspecified | v1::ReadFormat::Records) => Ok(Format::Records),
        Ok(v1::ReadFormat::Batches) => Ok(Format::Batches),
        Err(_) => Err(invalid("format", format!("{format} is none that this server knows"))),
    }
}

/// Bounds the wait for a replica that is fresh enough.
pub(crate) async fn within_freshness<T>(
    topic: &Topic,
    number: u32,
    freshness: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let in_time = tokio::time::timeout(FRESHNESS_TIMEOUT, freshness).await;
    in_time.unwrap_or_else(|_| Err(timed_out(topic.at(number), FRESHNESS_TIMEOUT)))
}

/// Returns once the wall clock has reached a time; never where there is none.
async fn reached(env: &Env, time: Option<Timestamp>) {
    let Some(time) = time else { return std::future::pending().await };
    // The clock may be set while this waits, so it is looked at again.
    while let Some(left_ms) = time.get().checked_sub(env.clock.now_unix_ms()).filter(|left| *left > 0) {
        let left = Duration::from_millis(left_ms.unsigned_abs());
        tokio::time::sleep(left.min(CLOCK_LOOK_INTERVAL)).await;
    }
}

/// How often a read to a time looks whether the wall clock was set.
const CLOCK_LOOK_INTERVAL: Duration = Duration::from_secs(60);

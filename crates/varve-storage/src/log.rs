//! One partition's log.

use crate::{
    AppendError, Damage, EndState, Entry, LogError, LogId, OpenError, ProducerCheck, ReadError, Retention,
    StopReason,
};
use bytes::Bytes;
use varve_record::{Batch, Index, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Called when appended entries are durable, or it is not known whether they ever will be.
pub type AppendDone = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// Called when a change of the log is durable, or was not made.
pub type LogDone = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// What an append made of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record; equal to `next_offset` where there are none.
    pub first_offset: Offset,
    /// The offset after the last record.
    pub next_offset: Offset,
    /// The last entry; `None` where none was given.
    pub last: Option<LogId>,
}

/// A batch as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The entry that holds it.
    pub log_id: LogId,
    /// When its leader appended it.
    pub append_time: Timestamp,
    /// The batch, its base offset set.
    pub batch: Batch,
}

/// One segment of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The segment's number, which rises with every segment made in the log.
    pub sequence: u64,
    /// Its first entry.
    pub first_index: Index,
    /// The offset that its first record has or gets.
    pub base_offset: Offset,
    /// Bytes that are in use, header included.
    pub size_bytes: u64,
}

/// One partition's log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PartitionLog;

impl PartitionLog {
    /// The partition's number.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        PartitionId::new(0)
    }

    /// Appends entries: contiguous after the last one, terms not falling. Stamps their base offsets. They can be read by
    /// [`PartitionLog::entries`] when this returns; `done` is called once they are durable. Does not block, and computes no
    /// checksums.
    ///
    /// # Errors
    /// Nothing was appended then, and `done` is dropped uncalled.
    pub fn append(&self, _entries: Vec<Entry>, _done: AppendDone) -> Result<Appended, AppendError> {
        Err(AppendError::StorageStopped(StopReason::Closed))
    }

    /// The last entry, durable or not; `None` where there was never one.
    #[must_use]
    pub fn last_log_id(&self) -> Option<LogId> {
        None
    }

    /// The last durable entry; `None` where there is none.
    #[must_use]
    pub fn durable_index(&self) -> Option<Index> {
        None
    }

    /// The first entry kept; the next one where the log is empty.
    #[must_use]
    pub fn first_index(&self) -> Index {
        Index::new(0)
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset::new(0)
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        Offset::new(0)
    }

    /// Bytes in use by all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        0
    }

    /// The greatest append time of any entry.
    #[must_use]
    pub fn last_append_time(&self) -> Timestamp {
        Timestamp::new(0)
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        Vec::new()
    }

    /// Says up to which entry the log is committed: nothing up to it is ever truncated, nothing after it ever deleted by a
    /// trim. Never falls.
    pub fn set_committed(&self, _index: Index) {}

    /// The state as of the last entry, durable or not.
    #[must_use]
    pub fn end_state(&self) -> EndState {
        EndState::default()
    }

    /// Whether a batch was appended before, against the log's end (durable or not).
    #[must_use]
    pub fn check_producer(
        &self,
        _id: ProducerId,
        _epoch: ProducerEpoch,
        _first_sequence: Sequence,
        _record_count: u32,
    ) -> ProducerCheck {
        ProducerCheck::New
    }

    /// The log id of one entry: of the last one before the log's start too. `None` beyond either end. May block.
    ///
    /// # Errors
    /// Where the entry is damaged or cannot be read.
    pub fn log_id_at(&self, _index: Index) -> Result<Option<LogId>, ReadError> {
        Ok(None)
    }

    /// Entries from `from` (inclusive) to `until` (exclusive), as many as come to `max_bytes` of body, but at least one where
    /// there is any. May block on the disk.
    ///
    /// # Errors
    /// Where `from` is purged, damaged or cannot be read.
    pub fn entries(&self, _from: Index, _until: Index, _max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
        Ok(Vec::new())
    }

    /// As [`PartitionLog::read`], from memory alone: `None` where `from` is not in the tail cache. Never blocks.
    #[must_use]
    pub fn try_read_cached(
        &self,
        _from: Offset,
        _until: Offset,
        _max_bytes: usize,
    ) -> Option<Vec<StoredBatch>> {
        None
    }

    /// Whole batches with records from `from` (inclusive) to `until` (exclusive: the caller's high watermark), as many as come
    /// to `max_bytes`, but at least one where there is any. The first may begin before `from`. May block on the disk.
    ///
    /// # Errors
    /// Where `from` is trimmed, damaged or cannot be read.
    pub fn read(
        &self,
        _from: Offset,
        _until: Offset,
        _max_bytes: usize,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        Ok(Vec::new())
    }

    /// The first offset whose append time is at or after `time`; `None` where all are before. May block on the disk.
    ///
    /// # Errors
    /// Where the place is damaged or cannot be read.
    pub fn offset_at_time(&self, _time: Timestamp) -> Result<Option<Offset>, ReadError> {
        Ok(None)
    }

    /// Takes back every entry after `last_kept` (`None`: every entry), durably, then calls `done`. Appends are refused until
    /// then.
    pub fn truncate_after(&self, _last_kept: Option<Index>, done: LogDone) {
        done(Err(LogError::StorageStopped(StopReason::Closed)));
    }

    /// Drops every entry and goes on from `state`, durably, then calls `done`: the install of a snapshot. Appends are refused
    /// until then; the next one must have the index `state.next_index()`.
    pub fn reset(&self, _state: EndState, done: LogDone) {
        done(Err(LogError::StorageStopped(StopReason::Closed)));
    }

    /// Records before `new_start` are no longer served; segments that lie wholly before it and are wholly committed are
    /// deleted. Never the last segment. Does not block.
    pub fn trim(&self, _new_start: Offset) {}

    /// Where retention would trim the log now; `None` where nothing is to go. Asks for a roll where all of the active segment
    /// has expired, so that it can go next time.
    #[must_use]
    pub fn trim_point(&self, _retention: Retention, _now: Timestamp) -> Option<Offset> {
        None
    }

    /// Begins a new segment, durably, then calls `done`; nothing where the active segment has no entry yet.
    pub fn roll(&self, done: LogDone) {
        done(Err(LogError::StorageStopped(StopReason::Closed)));
    }

    /// The state before the first entry kept: what a small snapshot is made of. May block on the disk.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn checkpoint_at_first_segment(&self) -> Result<EndState, ReadError> {
        Ok(EndState::default())
    }

    /// Makes a snapshot durable in place of the one before. Blocks.
    ///
    /// # Errors
    /// Where the system refuses; the snapshot before then stands.
    pub fn save_snapshot(&self, _snapshot: Bytes) -> Result<(), OpenError> {
        Err(OpenError::Stopped(StopReason::Closed))
    }

    /// The newest snapshot; `None` where there is none. Blocks.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn read_snapshot(&self) -> Result<Option<Bytes>, OpenError> {
        Ok(None)
    }

    /// The first damage found, at the start or by a read since; `None` where none is known. Appends are refused only where it
    /// puts the log's end in doubt.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        None
    }

    /// Whether the disk is full: appends are refused, reads go on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        false
    }

    /// Why the log takes no more writes; `None` while it does.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        None
    }
}

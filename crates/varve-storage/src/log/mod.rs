//! One partition's log.

mod change;
mod read;
mod recover;
mod segment_reader;
mod state;
mod writer;

pub(crate) use recover::{create_first_segment, recover};
pub(crate) use state::Op;

use crate::atomic_file::{AtomicError, AtomicKind, read_atomic, write_atomic};
use crate::chain::SNAPSHOT_FILE;
use crate::completion::Completion;
use crate::shared::Shared;
use crate::writer_queue::WriterQueue;
use crate::{
    AppendError, Damage, EndState, Entry, FileError, LogError, LogId, OpenError, PartitionConfig,
    ProducerCheck, ReadError, Retention, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, StopReason,
};
use bytes::Bytes;
use state::{LogState, Planner, bytes_for_room};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use varve_record::{Batch, Index, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp};
use writer::LogWriter;

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

/// What all handles of a log share.
pub(crate) struct LogInner {
    pub(crate) id: PartitionId,
    pub(crate) dir: PathBuf,
    pub(crate) config: PartitionConfig,
    /// As in `config` at first; may be altered while the log is open.
    segment_bytes: AtomicU64,
    pub(crate) shared: Arc<Shared>,
    queue: Arc<WriterQueue>,
    state: Mutex<LogState>,
    /// Only what works off the writer's queue takes this.
    writer: Mutex<LogWriter>,
}

impl LogInner {
    /// Bytes at which a segment is rolled.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn new(
        id: PartitionId,
        dir: PathBuf,
        config: PartitionConfig,
        shared: Arc<Shared>,
        queue: Arc<WriterQueue>,
        (state, writer): (LogState, LogWriter),
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            dir,
            segment_bytes: AtomicU64::new(config.segment_bytes),
            config,
            shared,
            queue,
            state: Mutex::new(state),
            writer: Mutex::new(writer),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn planner(&self) -> Planner<'_> {
        Planner {
            partition: self.id,
            dir: &self.dir,
            config: &self.config,
            segment_bytes: self.segment_bytes(),
            entropy: &*self.shared.entropy,
        }
    }

    pub(crate) fn queue(&self) -> &Arc<WriterQueue> {
        &self.queue
    }

    /// Does what can be done of these operations without a sync.
    pub(crate) fn write(&self, ops: Vec<(u64, Op)>, completed: &mut Vec<Completion>) {
        self.lock_writer().write(self, ops, completed);
    }

    /// Makes durable what was written.
    pub(crate) fn sync(&self, completed: &mut Vec<Completion>) {
        self.lock_writer().sync(self, completed);
    }

    /// Does what nobody waits for.
    pub(crate) fn tidy(&self) {
        self.lock_writer().tidy(self);
    }

    /// No more appends from here on.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.lock().stopped.get_or_insert(reason);
    }

    pub(crate) fn take_close_error(&self) -> Option<FileError> {
        self.lock_writer().take_close_error()
    }

    /// What is to be done now that some time has passed.
    pub(crate) fn tick(self: &Arc<Self>) {
        let op = {
            let mut state = self.lock();
            // Nothing is written to a log whose end is in doubt, not even a marker.
            if state.stopped.is_some() || state.end_in_doubt {
                return;
            }
            if state.full {
                Some(Op::Retry)
            } else if state.appends != state.appends_at_last_tick {
                state.appends_at_last_tick = state.appends;
                None
            } else if state.idle || state.queued_entries > 0 || state.truncating {
                None
            } else {
                state.idle = true;
                let durable_below = state.durable_below;
                state.cache.clear_durable(durable_below);
                Some(Op::Idle)
            }
        };
        self.enqueue(op);
    }

    /// Gives work to the writer.
    pub(crate) fn enqueue(self: &Arc<Self>, ops: impl IntoIterator<Item = Op>) {
        if let Some(waker) = self.queue.push(self, ops) {
            waker.wake();
        }
    }

    fn lock_writer(&self) -> MutexGuard<'_, LogWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionLog").field("id", &self.id).field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// One partition's log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PartitionLog(Arc<LogInner>);

impl PartitionLog {
    /// The partition's number.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.0.id
    }

    /// Appends entries: contiguous after the last one, terms not falling. Stamps their base offsets. They can be read by
    /// [`PartitionLog::entries`] when this returns; `done` is called once they are durable. Does not block, and computes no
    /// checksums.
    ///
    /// # Errors
    /// Nothing was appended then, and `done` is dropped uncalled.
    pub fn append(&self, entries: Vec<Entry>, done: AppendDone) -> Result<Appended, AppendError> {
        self.append_within(entries, done, Shared::has_room)
    }

    /// The same for entries that a leader has let in, here or on another node, where its disk was not full
    /// ([`PartitionLog::is_full`]): they may use half of the reserve.
    ///
    /// # Errors
    /// As [`PartitionLog::append`].
    pub fn append_let_in(&self, entries: Vec<Entry>, done: AppendDone) -> Result<Appended, AppendError> {
        self.append_within(entries, done, Shared::has_room_for_others)
    }

    fn append_within(
        &self,
        entries: Vec<Entry>,
        done: AppendDone,
        has_room: fn(&Shared, u64) -> bool,
    ) -> Result<Appended, AppendError> {
        let inner = &self.0;
        let mut ops = Vec::with_capacity(1);
        let (appended, waker) = {
            let mut state = inner.lock();
            state.admit(&entries, &inner.config, |bytes| has_room(&inner.shared, bytes))?;
            let bytes = bytes_for_room(&entries);
            let stamped = state.stamp(entries)?;
            inner.shared.use_room(bytes);
            let appended = state.plan(stamped, done, &inner.planner(), &mut ops);
            // Under the lock, so that the queue holds entries in the log's order.
            (appended, inner.queue.push(inner, ops))
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(appended)
    }

    /// The last entry, durable or not; `None` where there was never one.
    #[must_use]
    pub fn last_log_id(&self) -> Option<LogId> {
        self.0.lock().end.last
    }

    /// The last durable entry; `None` where there is none.
    #[must_use]
    pub fn durable_index(&self) -> Option<Index> {
        let state = self.0.lock();
        state.end.last.and(state.durable_below.prev())
    }

    /// The first entry kept; the next one where the log is empty.
    #[must_use]
    pub fn first_index(&self) -> Index {
        self.0.lock().first_index()
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.0.lock().end.next_offset
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.0.lock().log_start
    }

    /// Bytes in use by all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.lock().slots.size_bytes()
    }

    /// The greatest append time of any entry.
    #[must_use]
    pub fn last_append_time(&self) -> Timestamp {
        self.0.lock().end.last_append_time
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.0.lock().slots.infos()
    }

    /// Says up to which entry the log is committed: nothing up to it is ever truncated, nothing after it ever deleted by a
    /// trim. Never falls.
    pub fn set_committed(&self, index: Index) {
        let mut state = self.0.lock();
        state.committed = state.committed.max(Some(index));
    }

    /// Alters the size at which segments are rolled, from the next append on; brought into the range
    /// [`SEGMENT_BYTES_MIN`](crate::SEGMENT_BYTES_MIN) to [`SEGMENT_BYTES_MAX`](crate::SEGMENT_BYTES_MAX) where it lies
    /// outside.
    pub fn set_segment_bytes(&self, bytes: u64) {
        let bytes = bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self.0.segment_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The state as of the last entry, durable or not.
    #[must_use]
    pub fn end_state(&self) -> EndState {
        self.0.lock().end.clone()
    }

    /// Whether a batch was appended before, against the log's end (durable or not).
    #[must_use]
    pub fn check_producer(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
        first_sequence: Sequence,
        record_count: u32,
    ) -> ProducerCheck {
        self.0.lock().end.producers.check(id, epoch, first_sequence, record_count)
    }

    /// The log id of one entry: of the last one before the log's start too. `None` beyond either end. May block.
    ///
    /// # Errors
    /// Where the entry is damaged or cannot be read.
    pub fn log_id_at(&self, index: Index) -> Result<Option<LogId>, ReadError> {
        self.0.log_id_at(index)
    }

    /// Entries from `from` (inclusive) to `until` (exclusive), as many as come to `max_bytes` of body, but at least one where
    /// there is any. May block on the disk.
    ///
    /// # Errors
    /// Where `from` is purged, damaged or cannot be read.
    pub fn entries(&self, from: Index, until: Index, max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
        self.0.entries(from, until, max_bytes)
    }

    /// As [`PartitionLog::entries`], from memory alone: `None` where `from` is not in the tail cache. Never blocks.
    #[must_use]
    pub fn try_entries_cached(&self, from: Index, until: Index, max_bytes: usize) -> Option<Vec<Entry>> {
        self.0.try_entries_cached(from, until, max_bytes)
    }

    /// As [`PartitionLog::read`], from memory alone: `None` where `from` is not in the tail cache. Never blocks.
    #[must_use]
    pub fn try_read_cached(&self, from: Offset, until: Offset, max_bytes: usize) -> Option<Vec<StoredBatch>> {
        self.0.try_read_cached(from, until, max_bytes)
    }

    /// Whole batches with records from `from` (inclusive) to `until` (exclusive: the caller's high watermark), as many as come
    /// to `max_bytes`, but at least one where there is any. The first may begin before `from`. May block on the disk.
    ///
    /// # Errors
    /// Where `from` is trimmed, damaged or cannot be read.
    pub fn read(&self, from: Offset, until: Offset, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        self.0.read(from, until, max_bytes)
    }

    /// The first offset whose append time is at or after `time`; `None` where all are before. May block on the disk.
    ///
    /// # Errors
    /// Where the place is damaged or cannot be read.
    pub fn offset_at_time(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        self.0.offset_at_time(time)
    }

    /// Takes back every entry after `last_kept` (`None`: every entry), durably, then calls `done`. Appends are refused until
    /// then.
    pub fn truncate_after(&self, last_kept: Option<Index>, done: LogDone) {
        self.change(Op::Truncate { last_kept, done });
    }

    /// Drops every entry and goes on from `state`, durably, then calls `done`: the install of a snapshot. Appends are refused
    /// until then; the next one must have the index `state.next_index()`.
    pub fn reset(&self, state: EndState, done: LogDone) {
        self.change(Op::Reset { state, done });
    }

    /// Records before `new_start` are no longer served; segments that lie wholly before it and are wholly committed are
    /// deleted. Never the last segment. Does not block.
    pub fn trim(&self, new_start: Offset) {
        let segments = self.0.lock().trim(new_start);
        if !segments.is_empty() {
            self.0.enqueue([Op::Drop { segments }]);
        }
    }

    /// Records before `new_start` are no longer served, and nothing is deleted: whoever else reads the log by index says when
    /// it may be, by [`PartitionLog::purge`]. Does not block.
    pub fn set_log_start(&self, new_start: Offset) {
        self.0.lock().move_start(new_start);
    }

    /// Deletes segments whose entries are all at or before `upto`, committed, and trimmed; never the last segment. Does not
    /// block.
    pub fn purge(&self, upto: Index) {
        let segments = self.0.lock().take_trimmed(upto.next());
        if !segments.is_empty() {
            self.0.enqueue([Op::Drop { segments }]);
        }
    }

    /// Where retention would trim the log now; `None` where nothing is to go. Asks for a roll where all of the active segment
    /// has expired, so that it can go next time.
    #[must_use]
    pub fn trim_point(&self, retention: Retention, now: Timestamp) -> Option<Offset> {
        let (point, expired) = self.0.lock().trim_point(retention, now);
        if expired {
            self.roll(Box::new(|_| {}));
        }
        point
    }

    /// Begins a new segment, durably, then calls `done`; nothing where the active segment has no entry yet.
    pub fn roll(&self, done: LogDone) {
        let refused = {
            let mut state = self.0.lock();
            if let Some(reason) = state.stopped.clone() {
                Some((done, LogError::StorageStopped(reason)))
            } else if let Some(damage) = state.damage.clone().filter(|_| state.end_in_doubt) {
                Some((done, LogError::Damaged(damage)))
            } else if state.truncating {
                Some((done, LogError::Truncating))
            } else if state.full {
                Some((done, LogError::DiskFull))
            } else {
                let op = if state.last_is_empty() {
                    Op::Append {
                        entries: Vec::new(),
                        position: state.slots.last().end,
                        done: Some(flushed(done)),
                    }
                } else {
                    state.plan_roll(&self.0.planner(), Some(done))
                };
                let waker = self.0.queue.push(&self.0, [op]);
                drop(state);
                return waker.into_iter().for_each(std::task::Waker::wake);
            }
        };
        if let Some((done, error)) = refused {
            done(Err(error));
        }
    }

    /// The state before the first entry kept: what a small snapshot is made of. May block on the disk.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn checkpoint_at_first_segment(&self) -> Result<EndState, ReadError> {
        self.0.checkpoint_at_first_segment()
    }

    /// The state before the first entry that would be kept if all that is trimmed were purged now. May block on the disk.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn checkpoint_after_purge(&self) -> Result<EndState, ReadError> {
        self.0.checkpoint_after_purge()
    }

    /// Makes a snapshot durable in place of the one before. Blocks.
    ///
    /// # Errors
    /// Where the system refuses; the snapshot before then stands.
    pub fn save_snapshot(&self, snapshot: Bytes) -> Result<(), OpenError> {
        let path = self.0.dir.join(SNAPSHOT_FILE);
        write_atomic(&*self.0.shared.disk, &path, AtomicKind::Snapshot, &snapshot)?;
        Ok(())
    }

    /// The newest snapshot; `None` where there is none. Blocks.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn read_snapshot(&self) -> Result<Option<Bytes>, OpenError> {
        let path = self.0.dir.join(SNAPSHOT_FILE);
        read_atomic(&*self.0.shared.disk, &path, AtomicKind::Snapshot).map_err(|error| match error {
            AtomicError::Damaged(reason) => OpenError::Untrusted { path, reason },
            AtomicError::Newer(found) => OpenError::Newer { path, found },
            AtomicError::File(error) => OpenError::File(error),
        })
    }

    /// The first damage found, at the start or by a read since; `None` where none is known. Appends are refused only where it
    /// puts the log's end in doubt.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.0.lock().damage.clone()
    }

    /// Takes the log for damaged because that is known from before: to open it does not find every damage again.
    pub fn distrust(&self) {
        let mut state = self.0.lock();
        let damage = Damage {
            file: self.0.dir.clone(),
            position: 0,
            first_index: state.first_index(),
            last_index: None,
            reason: "damage was found in it before",
        };
        state.note_damage(&damage);
    }

    /// Whether the disk is full: batches are refused, and reads go on. What makes room (a trim, a small command) is refused
    /// only where nothing at all can be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.lock().full || !self.0.shared.has_room(1)
    }

    /// Whether a batch of this size would be taken now; with `None`, something that makes room.
    #[must_use]
    pub fn has_room_for(&self, batch_bytes: Option<usize>) -> bool {
        let bytes = batch_bytes.map_or(0, crate::frame::frame_len);
        !self.0.lock().full && self.0.shared.has_room(bytes)
    }

    /// Why the log takes no more writes; `None` while it does.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        self.0.lock().stopped.clone()
    }

    pub(crate) fn from_inner(inner: Arc<LogInner>) -> Self {
        Self(inner)
    }

    /// Queues a change that takes entries back; appends are refused until it is done.
    fn change(&self, op: Op) {
        let mut state = self.0.lock();
        let refused = match (&state.stopped, state.truncating) {
            (Some(reason), _) => Some(LogError::StorageStopped(reason.clone())),
            (None, true) => Some(LogError::Truncating),
            (None, false) => None,
        };
        if refused.is_none() {
            state.truncating = true;
            let waker = self.0.queue.push(&self.0, [op]);
            drop(state);
            return waker.into_iter().for_each(std::task::Waker::wake);
        }
        drop(state);
        if let (Some(error), Op::Truncate { done, .. } | Op::Reset { done, .. }) = (refused, op) {
            done(Err(error));
        }
    }
}

/// Answers a roll that had nothing to do, once all before it is durable.
fn flushed(done: LogDone) -> AppendDone {
    Box::new(|result| match result {
        Err(AppendError::StorageStopped(reason)) => done(Err(LogError::StorageStopped(reason))),
        _ => done(Ok(())),
    })
}

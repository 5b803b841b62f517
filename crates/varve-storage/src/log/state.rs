//! What a log knows in memory, and how entries get their places.

use crate::frame::frame_len;
use crate::segment::{Segment, Slot, Slots};
use crate::segment_file::first_position;
use crate::segment_header::SegmentHeader;
use crate::sparse_index::{IndexPoint, SparseIndex};
use crate::tail_cache::{TailCache, cost};
use crate::{
    AppendDone, AppendError, Appended, BODY_BYTES_MAX, Damage, EndState, Entry, EntryKind, LogDone,
    PartitionConfig, Retention, StopReason,
};
use std::path::Path;
use std::sync::Arc;
use varve_env::Entropy;
use varve_record::{Batch, Index, Offset, PartitionId, Timestamp};

/// The largest command that may use the reserve.
const RESERVE_COMMAND_BYTES_MAX: usize = 64 * 1024;

/// What a writer is to do next with one log. Everything that changes files passes through the writer's queue, in order.
pub(crate) enum Op {
    /// Write these entries from `position` on.
    Append { entries: Vec<Entry>, position: u64, done: Option<AppendDone> },
    /// Make the segment and go on in it.
    Roll { segment: Arc<Segment>, state: EndState, done: Option<LogDone> },
    /// Take back what comes after this entry.
    Truncate { last_kept: Option<Index>, done: LogDone },
    /// Begin anew with this state.
    Reset { state: EndState, done: LogDone },
    /// Delete segments that are no longer part of the log.
    Drop { segments: Vec<Arc<Segment>> },
    /// Write the index of a segment whose index was missing.
    SaveIndex { segment: Arc<Segment>, index: Arc<SparseIndex> },
    /// Note at the tail that all before it is durable; let go of the file.
    Idle,
    /// Try again what found the disk full.
    Retry,
    /// Leave what makes the next start fast, and stop.
    Close,
    /// Stop; what is queued is refused.
    Abandon,
}

impl Op {
    /// Bytes of entries to be written.
    pub(crate) fn body_bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
            _ => 0,
        }
    }
}

/// A log's state, under one lock that is never held across I/O.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) slots: Slots,
    /// The sparse index of the last segment.
    pub(crate) index: SparseIndex,
    /// The state as of the last entry, queued ones included.
    pub(crate) end: EndState,
    /// Every entry below is durable.
    pub(crate) durable_below: Index,
    pub(crate) committed: Option<Index>,
    pub(crate) log_start: Offset,
    /// What the owner trimmed by call, be there an entry for it or not.
    pub(crate) trimmed_to: Offset,
    pub(crate) next_sequence: u64,
    pub(crate) cache: TailCache,
    pub(crate) queued_bytes: usize,
    pub(crate) queued_entries: usize,
    pub(crate) truncating: bool,
    pub(crate) full: bool,
    pub(crate) stopped: Option<StopReason>,
    pub(crate) damage: Option<Damage>,
    /// The damage puts the log's end in doubt.
    pub(crate) end_in_doubt: bool,
    /// Entries behind the last known one were durable and are lost.
    pub(crate) end_lost: bool,
    /// Appends so far, for telling an idle log.
    pub(crate) appends: u64,
    pub(crate) appends_at_last_tick: u64,
    pub(crate) idle: bool,
}

/// What is needed besides the state to give entries their places.
pub(crate) struct Planner<'a> {
    pub(crate) partition: PartitionId,
    pub(crate) dir: &'a Path,
    pub(crate) config: &'a PartitionConfig,
    pub(crate) segment_bytes: u64,
    pub(crate) entropy: &'a dyn Entropy,
}

impl LogState {
    /// The index that the next entry must have.
    pub(crate) fn next_index(&self) -> Index {
        let first = self.slots.last().segment.first_index;
        self.end.last.map_or(first, |last| last.index.next()).max(first)
    }

    /// The first entry kept.
    pub(crate) fn first_index(&self) -> Index {
        self.slots.first().segment.first_index
    }

    /// Refuses what may not be appended now.
    pub(crate) fn admit(
        &self,
        entries: &[Entry],
        config: &PartitionConfig,
        has_room: impl FnOnce(u64) -> bool,
    ) -> Result<(), AppendError> {
        if let Some(reason) = &self.stopped {
            return Err(AppendError::StorageStopped(reason.clone()));
        }
        if let Some(damage) = self.damage.as_ref().filter(|_| self.end_in_doubt) {
            return Err(AppendError::Damaged(damage.clone()));
        }
        if self.truncating {
            return Err(AppendError::Truncating);
        }
        if self.full || !has_room(bytes_for_room(entries)) {
            return Err(AppendError::DiskFull);
        }
        let bytes = self.queued_bytes + entries.iter().map(cost).sum::<usize>();
        let too_much =
            bytes > config.queue_bytes_max || self.queued_entries + entries.len() > config.queue_entries_max;
        // Whatever is larger than the whole queue passes alone.
        if too_much && self.queued_entries > 0 {
            let (queued_bytes, queued_entries) = (self.queued_bytes, self.queued_entries);
            return Err(AppendError::QueueFull { queued_bytes, queued_entries });
        }
        Ok(())
    }

    /// Checks that entries may follow the last one, and gives each its base offset; changes nothing. The batches beside them
    /// are parsed once, here.
    pub(crate) fn stamp(&self, entries: Vec<Entry>) -> Result<Vec<(Entry, Option<Batch>)>, AppendError> {
        let (mut next_index, mut next_offset) = (self.next_index(), self.end.next_offset);
        let mut last_term = self.end.last.map(|last| last.term).unwrap_or_default();
        let mut stamped = Vec::with_capacity(entries.len());
        for entry in entries {
            let (index, term) = (entry.log_id.index, entry.log_id.term);
            if index != next_index {
                return Err(AppendError::NotContiguous { expected: next_index, found: index });
            }
            if term < last_term {
                return Err(AppendError::TermFell { index, last: last_term, found: term });
            }
            let (entry, batch) = stamp_entry(entry, next_offset)?;
            next_offset = entry.next_offset();
            (next_index, last_term) = (index.next(), term);
            stamped.push((entry, batch));
        }
        Ok(stamped)
    }

    /// Makes stamped entries part of the log and says what is to be written. Nothing here can fail.
    pub(crate) fn plan(
        &mut self,
        stamped: Vec<(Entry, Option<Batch>)>,
        done: AppendDone,
        planner: &Planner<'_>,
        ops: &mut Vec<Op>,
    ) -> Appended {
        let first_offset = self.end.next_offset;
        let mut position = self.slots.last().end;
        let mut entries = Vec::with_capacity(stamped.len());
        for (entry, batch) in stamped {
            let frame_bytes = frame_len(entry.body.len());
            if self.slots.last().end + frame_bytes > planner.segment_bytes && !self.last_is_empty() {
                push_append(ops, &mut entries, position, None);
                ops.push(self.plan_roll(planner, None));
                position = self.slots.last().end;
            }
            self.index.note(IndexPoint {
                index: entry.log_id.index,
                base_offset: entry.base_offset,
                time_before: self.end.last_append_time,
                position: self.slots.last().end,
            });
            self.slots.last_mut().end += frame_bytes;
            self.end.apply(&entry, batch.as_ref(), planner.config.producers_max);
            self.queued_bytes += cost(&entry);
            self.queued_entries += 1;
            self.cache.push(entry.clone());
            entries.push(entry);
        }
        self.appends += 1;
        self.idle = false;
        ops.push(Op::Append { entries, position, done: Some(done) });
        Appended { first_offset, next_offset: self.end.next_offset, last: self.end.last }
    }

    /// Whether the last segment has no entry, not even a queued one.
    pub(crate) fn last_is_empty(&self) -> bool {
        self.next_index() == self.slots.last().segment.first_index
    }

    /// Ends the last segment and begins another behind it.
    pub(crate) fn plan_roll(&mut self, planner: &Planner<'_>, done: Option<LogDone>) -> Op {
        let next_index = self.next_index();
        let old = self.slots.last_mut();
        old.next_index = next_index;
        old.index = Some(Arc::new(std::mem::take(&mut self.index)));
        let previous = Previous { sequence: old.segment.sequence, end: old.end };
        let state = self.end.clone();
        let header = self.next_header(planner, Some(previous), &state, next_index, false);
        let segment = Arc::new(Segment::new(planner.dir, header));
        self.slots.push(new_slot(&segment, &header));
        Op::Roll { segment, state, done }
    }

    /// The header of a segment that is to begin with `state`.
    pub(crate) fn next_header(
        &mut self,
        planner: &Planner<'_>,
        previous: Option<Previous>,
        state: &EndState,
        first_index: Index,
        reset: bool,
    ) -> SegmentHeader {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        new_header(planner.partition, planner.entropy, sequence, previous, state, first_index, reset)
    }

    /// Moves the log's start; gives the segments that are to be deleted.
    pub(crate) fn trim(&mut self, new_start: Offset) -> Vec<Arc<Segment>> {
        self.move_start(new_start);
        self.take_trimmed(Index::new(u64::MAX))
    }

    /// Moves the log's start, and deletes nothing.
    pub(crate) fn move_start(&mut self, new_start: Offset) {
        let new_start = new_start.min(self.end.next_offset);
        self.trimmed_to = self.trimmed_to.max(new_start);
        self.log_start = self.log_start.max(new_start);
    }

    /// Takes away the segments that lie before the log's start and before an entry.
    pub(crate) fn take_trimmed(&mut self, before: Index) -> Vec<Arc<Segment>> {
        // While segments are being changed none goes: the next trim takes them.
        if self.truncating || self.stopped.is_some() {
            return Vec::new();
        }
        let Some(end) = self.trimmable_below() else { return Vec::new() };
        let gone = self.slots.take_before(self.log_start, end.min(before));
        let segments: Vec<_> = gone.into_iter().map(|slot| slot.segment).collect();
        segments.iter().for_each(|segment| segment.mark_dropped());
        segments
    }

    /// The segment that will be the first once all that is trimmed is deleted.
    pub(crate) fn first_untrimmed(&self) -> &Arc<Segment> {
        let end = self.trimmable_below().unwrap_or_default();
        let gone = self.slots.count_before(self.log_start, end);
        &self.slots.all()[gone].segment
    }

    /// Entries below are committed and durable.
    fn trimmable_below(&self) -> Option<Index> {
        Some(self.committed?.next().min(self.durable_below))
    }

    /// Where retention would trim the log, and whether all of the last segment has expired.
    pub(crate) fn trim_point(&self, retention: Retention, now: Timestamp) -> (Option<Offset>, bool) {
        let oldest_kept = retention.age_ms.map(|age| Timestamp::new(now.get().saturating_sub(age.max(0))));
        let is_expired = |time: Timestamp| oldest_kept.is_some_and(|oldest| time < oldest);
        let slots = self.slots.all();
        let mut size_bytes = self.slots.size_bytes();
        let mut keep = 0;
        while keep + 1 < slots.len() {
            let too_much = retention.bytes.is_some_and(|bytes| size_bytes > bytes);
            let too_old = self.slots.time_at_end(keep).is_some_and(is_expired);
            if !too_much && !too_old {
                break;
            }
            size_bytes -= slots[keep].end;
            keep += 1;
        }
        let expired =
            keep + 1 == slots.len() && !self.last_is_empty() && is_expired(self.end.last_append_time);
        let point = slots.get(keep).and_then(|slot| slot.segment.base_offset());
        (point.filter(|point| *point > self.log_start), expired)
    }

    /// The damage that a read behind the last known entry runs into.
    pub(crate) fn damage_behind_end(&self) -> Option<Damage> {
        self.damage.clone().filter(|_| self.end_lost)
    }

    /// Notes damage; the first that was found is kept.
    pub(crate) fn note_damage(&mut self, damage: &Damage) {
        if self.damage.is_none() {
            tracing::error!(%damage, "damage found");
            self.damage = Some(damage.clone());
        }
    }
}

/// The segment before a new one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Previous {
    pub(crate) sequence: u64,
    pub(crate) end: u64,
}

impl Previous {
    /// The one that a segment follows by its header.
    pub(crate) fn of(header: &SegmentHeader) -> Option<Self> {
        let (sequence, end) = (header.previous_sequence, header.previous_end);
        (sequence > 0).then_some(Self { sequence, end })
    }
}

pub(crate) fn new_header(
    partition: PartitionId,
    entropy: &dyn Entropy,
    sequence: u64,
    previous: Option<Previous>,
    state: &EndState,
    first_index: Index,
    reset: bool,
) -> SegmentHeader {
    // Partition and sequence make it unlike any before it even where a generator begins anew with the same seed.
    let place = partition.get().rotate_left(32) ^ sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    SegmentHeader {
        incarnation: entropy.next_u64() ^ place,
        partition,
        sequence,
        previous_sequence: previous.map_or(0, |p| p.sequence),
        previous_end: previous.map_or(0, |p| p.end),
        first_index,
        previous: state.last,
        reset,
        base_offset: state.next_offset,
        last_append_time: state.last_append_time,
        first_position: first_position(state),
    }
}

/// A new last segment's place.
pub(crate) fn new_slot(segment: &Arc<Segment>, header: &SegmentHeader) -> Slot {
    Slot {
        segment: Arc::clone(segment),
        end: header.first_position,
        next_index: Index::new(u64::MAX),
        index: None,
    }
}

/// Bytes that must find room above the reserve. The reserve is for what a full disk is left by: trims, what removes a topic,
/// and what a term begins with.
pub(crate) fn bytes_for_room(entries: &[Entry]) -> u64 {
    let uses_reserve = |entry: &Entry| match entry.kind {
        EntryKind::Batch => false,
        EntryKind::Command => entry.body.len() <= RESERVE_COMMAND_BYTES_MAX,
        EntryKind::Blank | EntryKind::Membership | EntryKind::Trim => true,
    };
    let needy = entries.iter().filter(|entry| !uses_reserve(entry));
    needy.map(|entry| frame_len(entry.body.len())).sum()
}

fn push_append(ops: &mut Vec<Op>, entries: &mut Vec<Entry>, position: u64, done: Option<AppendDone>) {
    if !entries.is_empty() {
        ops.push(Op::Append { entries: std::mem::take(entries), position, done });
    }
}

/// Checks one entry by itself and gives it its base offset.
fn stamp_entry(mut entry: Entry, base_offset: Offset) -> Result<(Entry, Option<Batch>), AppendError> {
    let index = entry.log_id.index;
    let malformed = |reason| AppendError::Malformed { index, reason };
    if entry.body.len() > BODY_BYTES_MAX {
        return Err(AppendError::TooLarge { index, found: entry.body.len(), limit: BODY_BYTES_MAX });
    }
    if index.get() == u64::MAX {
        return Err(malformed("its index is the greatest there is"));
    }
    if entry.kind == EntryKind::Trim && entry.trim_offset().is_none() {
        return Err(malformed("its body is not an offset"));
    }
    entry.base_offset = base_offset;
    if entry.kind != EntryKind::Batch {
        entry.record_count = 0;
        return Ok((entry, None));
    }
    let batch = Batch::from_trusted(std::mem::take(&mut entry.body));
    let batch = batch.map_err(|_| malformed("its body is not a record batch"))?;
    entry.record_count = batch.record_count();
    if base_offset.checked_add(u64::from(entry.record_count)).is_none() {
        return Err(malformed("its records would pass the greatest offset"));
    }
    let batch = if batch.base_offset() == base_offset { batch } else { batch.with_base_offset(base_offset) };
    entry.body = batch.as_bytes().clone();
    Ok((entry, Some(batch)))
}

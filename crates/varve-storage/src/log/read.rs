//! Reading: from the tail cache, else from the files.

use super::segment_reader::{Piece, SegmentReader, Until, Want};
use super::state::{LogState, Op};
use super::{LogInner, StoredBatch};
use crate::frame::{FrameHeader, FrameKind};
use crate::replay::to_entry;
use crate::segment::{Segment, Slot};
use crate::segment_file::{load_index, open_for_reading, read_checkpoint};
use crate::sparse_index::{IndexPoint, SparseIndex};
use crate::{Damage, EndState, Entry, EntryKind, FileError, LogId, ReadError, StopReason};
use bytes::Bytes;
use std::sync::Arc;
use varve_record::{Batch, Index, Offset, Timestamp};

/// A segment may be deleted while it is looked for; after so many tries something else is wrong.
const TRIES_MAX: usize = 8;

impl LogInner {
    pub(crate) fn entries(
        self: &Arc<Self>,
        from: Index,
        until: Index,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut taken: Vec<Entry> = Vec::new();
        loop {
            let next = taken.last().map_or(from, |last| last.log_id.index.next());
            let taken_bytes: usize = taken.iter().map(|entry| entry.body.len()).sum();
            match self.more_entries(next, until, max_bytes.saturating_sub(taken_bytes), &mut taken) {
                Ok(true) => {}
                Ok(false) => return Ok(taken),
                Err(error) if taken.is_empty() => return Err(error),
                // What comes before the flaw is sound; the next read runs into it.
                Err(_) => return Ok(taken),
            }
        }
    }

    /// Adds what the cache or one segment has; false where nothing more is to come.
    fn more_entries(
        self: &Arc<Self>,
        next: Index,
        until: Index,
        max_bytes: usize,
        taken: &mut Vec<Entry>,
    ) -> Result<bool, ReadError> {
        let before = taken.len();
        for _ in 0..TRIES_MAX {
            let (slot, point, bounds) = {
                let state = self.lock();
                let Some(end) = state.end_of_entries(next, until)? else { return Ok(false) };
                if let Some(cached) = state.cache.starting_at(next) {
                    let cached = cached.take_while(|entry| entry.log_id.index < end).cloned();
                    take_bounded(cached, max_bytes, taken, |entry| entry.body.len());
                    return Ok(false);
                }
                let Some((slot, point)) = state.place(Want::Index(next)) else { return Ok(false) };
                let index = end.min(state.durable_below);
                let bounds = Until { index, offset: Offset::MAX, max_bytes, at_least_one: before == 0 };
                (slot, point, bounds)
            };
            let mut frames = Vec::new();
            let piece = self.read_segment(&slot, point, Want::Index(next), bounds, &|_| true, &mut frames);
            if matches!(piece, Ok(Piece::Dropped)) {
                continue;
            }
            taken.extend(frames.iter().filter_map(|(frame, body)| to_entry(frame, body)));
            return match piece? {
                Piece::Exhausted => Ok(taken.len() > before),
                Piece::Done | Piece::Dropped => Ok(false),
            };
        }
        Err(ReadError::Stopped(StopReason::Closed))
    }

    pub(crate) fn try_entries_cached(
        &self,
        from: Index,
        until: Index,
        max_bytes: usize,
    ) -> Option<Vec<Entry>> {
        let state = self.lock();
        let end = state.next_index().min(until);
        if from >= end || state.failed().is_some() {
            return None;
        }
        let mut entries = Vec::new();
        let cached = state.cache.starting_at(from)?.take_while(|entry| entry.log_id.index < end).cloned();
        take_bounded(cached, max_bytes, &mut entries, |entry| entry.body.len());
        Some(entries)
    }

    pub(crate) fn try_read_cached(
        &self,
        from: Offset,
        until: Offset,
        max_bytes: usize,
    ) -> Option<Vec<StoredBatch>> {
        self.lock().read_cached(from, until, max_bytes)
    }

    pub(crate) fn read(
        self: &Arc<Self>,
        from: Offset,
        until: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        // Where the last look ended, in a segment whose last entries hold no records.
        let mut after: Option<Index> = None;
        let mut tries = 0;
        while tries < TRIES_MAX {
            let (slot, point, bounds) = {
                let state = self.lock();
                if from < state.log_start {
                    return Err(ReadError::Trimmed { log_start: state.log_start });
                }
                if from >= until {
                    return Ok(Vec::new());
                }
                if from >= state.end.next_offset {
                    return state.damage_behind_end().map_or(Ok(Vec::new()), |damage| Err(damage.into()));
                }
                if let Some(batches) = state.read_cached(from, until, max_bytes) {
                    return Ok(batches);
                }
                let place = state.place(after.map_or(Want::Offset(from), Want::Index));
                let Some((slot, point)) = place else { return Ok(Vec::new()) };
                let index = state.durable_below;
                (slot, point, Until { index, offset: until, max_bytes, at_least_one: true })
            };
            let mut frames = Vec::new();
            let is_batch = |frame: &FrameHeader| frame.kind == FrameKind::Entry(EntryKind::Batch);
            match self.read_segment(&slot, point, Want::Offset(from), bounds, &is_batch, &mut frames) {
                Ok(Piece::Dropped) => tries += 1,
                Ok(Piece::Exhausted) if frames.is_empty() && slot.next_index < bounds.index => {
                    after = Some(slot.next_index);
                }
                Err(error) if frames.is_empty() => return Err(error),
                // What comes before the flaw is sound; the next read runs into it.
                Err(_) | Ok(_) => return to_batches(&slot, frames),
            }
        }
        Err(ReadError::Stopped(StopReason::Closed))
    }

    pub(crate) fn offset_at_time(self: &Arc<Self>, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        let mut after: Option<Index> = None;
        // One turn for each segment from the first that may hold it; mostly one or two.
        loop {
            let (slot, point, bounds, log_start) = {
                let state = self.lock();
                let Some(place) = state.place_of_time(time, after) else { return Ok(None) };
                let slot = state.slots.all()[place].clone();
                let point = state.point(place, Want::Time(time));
                let bounds = Until {
                    index: state.durable_below,
                    offset: Offset::MAX,
                    max_bytes: 0,
                    at_least_one: true,
                };
                (slot, point, bounds, state.log_start)
            };
            let mut frames = Vec::new();
            let wanted = |frame: &FrameHeader| {
                frame.kind == FrameKind::Entry(EntryKind::Batch)
                    && frame.append_time >= time
                    && frame.next_offset() > log_start
            };
            match self.read_segment(&slot, point, Want::Time(time), bounds, &wanted, &mut frames)? {
                Piece::Dropped => continue,
                Piece::Exhausted | Piece::Done => {}
            }
            if let Some((frame, _)) = frames.first() {
                return Ok(Some(frame.base_offset.max(log_start)));
            }
            if slot.next_index >= bounds.index {
                return Ok(self.lock().cached_offset_at_time(time, bounds.index));
            }
            after = Some(slot.next_index);
        }
    }

    pub(crate) fn log_id_at(self: &Arc<Self>, index: Index) -> Result<Option<LogId>, ReadError> {
        let before_first = {
            let state = self.lock();
            if let Some(last) = state.end.last.filter(|last| last.index == index) {
                return Ok(Some(last));
            }
            let first = &state.slots.first().segment;
            first.header.ok().and_then(|header| header.previous).filter(|previous| previous.index == index)
        };
        if before_first.is_some() {
            return Ok(before_first);
        }
        match self.entries(index, index.next(), 0) {
            Ok(entries) => Ok(entries.first().map(|entry| entry.log_id)),
            Err(ReadError::Purged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn checkpoint_at_first_segment(&self) -> Result<EndState, ReadError> {
        self.checkpoint_at(|state| Arc::clone(&state.slots.first().segment))
    }

    pub(crate) fn checkpoint_after_purge(&self) -> Result<EndState, ReadError> {
        self.checkpoint_at(|state| Arc::clone(state.first_untrimmed()))
    }

    fn checkpoint_at(&self, choose: impl Fn(&LogState) -> Arc<Segment>) -> Result<EndState, ReadError> {
        for _ in 0..TRIES_MAX {
            let segment = choose(&self.lock());
            let damaged = |reason| {
                let (file, first_index) = (segment.path.clone(), segment.first_index);
                ReadError::Damaged(Damage { file, position: 0, first_index, last_index: None, reason })
            };
            let header = segment.header.map_err(damaged)?;
            let file = match open_for_reading(&self.shared, &segment) {
                Err(_) if segment.is_dropped() => continue,
                file => file?,
            };
            let state = read_checkpoint(&*file, &header);
            return match state.map_err(|e| FileError::new("read", &segment.path, e))? {
                Err(_) if segment.is_dropped() => continue,
                Err(reason) => Err(damaged(reason)),
                Ok(state) => Ok(state),
            };
        }
        Err(ReadError::Stopped(StopReason::Closed))
    }

    /// Reads one segment from the nearest point of its index on. What was read before an error is in `frames`.
    fn read_segment(
        self: &Arc<Self>,
        slot: &Slot,
        point: Option<IndexPoint>,
        want: Want,
        until: Until,
        accept: &dyn Fn(&FrameHeader) -> bool,
        frames: &mut Vec<(FrameHeader, Bytes)>,
    ) -> Result<Piece, ReadError> {
        let result = self.try_read_segment(slot, point, want, until, accept, frames);
        match result {
            Err(_) if slot.segment.is_dropped() => {
                frames.clear();
                Ok(Piece::Dropped)
            }
            Err(ReadError::Damaged(damage)) => {
                self.lock().note_damage(&damage);
                Err(ReadError::Damaged(damage))
            }
            result => result,
        }
    }

    fn try_read_segment(
        self: &Arc<Self>,
        slot: &Slot,
        point: Option<IndexPoint>,
        want: Want,
        until: Until,
        accept: &dyn Fn(&FrameHeader) -> bool,
        frames: &mut Vec<(FrameHeader, Bytes)>,
    ) -> Result<Piece, ReadError> {
        if slot.segment.first_index >= until.index {
            // Nothing in it is durable: it may not even be on the disk yet.
            return Ok(Piece::Exhausted);
        }
        let header =
            slot.segment.header.map_err(|reason| slot.damage(0, slot.segment.first_index, reason))?;
        let file = open_for_reading(&self.shared, &slot.segment)?;
        let point = match point {
            Some(point) => Some(point),
            None => want.point(&*self.sealed_index(slot)?),
        };
        SegmentReader::new(slot, &header, &*file, point, want, until, frames).run(accept)
    }

    /// The sparse index of a segment that is written to no more.
    fn sealed_index(self: &Arc<Self>, slot: &Slot) -> Result<Arc<SparseIndex>, ReadError> {
        let (index, save) = load_index(&self.shared, slot)?;
        if save && slot.next_index.get() != u64::MAX {
            tracing::info!(segment = %slot.segment.path.display(), "sparse index was missing or wrong: made anew");
            self.enqueue([Op::SaveIndex { segment: Arc::clone(&slot.segment), index: Arc::clone(&index) }]);
        }
        Ok(index)
    }
}

impl LogState {
    /// Why the log failed, if it did: what is not durable is not served then.
    fn failed(&self) -> Option<StopReason> {
        self.stopped.clone().filter(|reason| matches!(reason, StopReason::Failed(_)))
    }

    /// Where entries from `next` on end that may be given away; `None` where there is none.
    fn end_of_entries(&self, next: Index, until: Index) -> Result<Option<Index>, ReadError> {
        let end = self.next_index().min(until);
        if next >= end {
            let lost = self.damage_behind_end().filter(|_| next < until);
            return lost.map_or(Ok(None), |damage| Err(damage.into()));
        }
        if next < self.first_index() {
            return Err(ReadError::Purged { first_index: self.first_index() });
        }
        match self.failed() {
            Some(reason) if next >= self.durable_below => Err(ReadError::Stopped(reason)),
            Some(_) => Ok(Some(end.min(self.durable_below))),
            None => Ok(Some(end)),
        }
    }

    fn read_cached(&self, from: Offset, until: Offset, max_bytes: usize) -> Option<Vec<StoredBatch>> {
        if from < self.log_start {
            return None;
        }
        if from >= until || from >= self.end.next_offset {
            return (!self.end_lost).then(Vec::new);
        }
        let limit = if self.failed().is_some() { self.durable_below } else { Index::new(u64::MAX) };
        let cached = self.cache.starting_with(from)?;
        let batches = cached
            .take_while(|entry| entry.base_offset < until && entry.log_id.index < limit)
            .filter(|entry| entry.kind == EntryKind::Batch)
            .filter_map(|entry| {
                let batch = entry.to_batch().ok()?;
                Some(StoredBatch { log_id: entry.log_id, append_time: entry.append_time, batch })
            });
        let mut taken = Vec::new();
        take_bounded(batches, max_bytes, &mut taken, |stored| stored.batch.size_bytes());
        Some(taken)
    }

    /// The segment to read, and the point of its index where that is in memory.
    fn place(&self, want: Want) -> Option<(Slot, Option<IndexPoint>)> {
        let place = match want {
            Want::Index(index) => self.slots.place_of_index(index),
            Want::Offset(offset) => Some(self.slots.place_of_offset(offset)),
            Want::Time(time) => self.place_of_time(time, None),
        }?;
        Some((self.slots.all()[place].clone(), self.point(place, want)))
    }

    /// The point of the index to read from: of the last segment and those that have no index file yet.
    fn point(&self, place: usize, want: Want) -> Option<IndexPoint> {
        let slot = &self.slots.all()[place];
        let is_last = place + 1 == self.slots.all().len();
        if !is_last && slot.index.is_none() {
            return None;
        }
        let header = slot.segment.header.ok()?;
        let first = IndexPoint {
            index: header.first_index,
            base_offset: header.base_offset,
            time_before: header.last_append_time,
            position: header.first_position,
        };
        let found = if is_last { want.point(&self.index) } else { want.point(slot.index.as_ref()?) };
        Some(found.unwrap_or(first))
    }

    /// The first segment at or behind `after` that may hold an entry as late as `time`.
    fn place_of_time(&self, time: Timestamp, after: Option<Index>) -> Option<usize> {
        let slots = self.slots.all();
        let skip = after.map_or(0, |index| self.slots.place_of_index(index).unwrap_or(0));
        let time_at_end = |place| self.slots.time_at_end(place).unwrap_or(self.end.last_append_time);
        (skip..slots.len()).find(|place| time_at_end(*place) >= time)
    }

    /// As [`LogInner::offset_at_time`], among the entries from `from` on, which are not yet durable.
    fn cached_offset_at_time(&self, time: Timestamp, from: Index) -> Option<Offset> {
        let mut cached = self.cache.starting_at(from)?;
        let found = cached.find(|entry| entry.kind == EntryKind::Batch && entry.append_time >= time)?;
        Some(found.base_offset.max(self.log_start))
    }
}

/// Takes items until their sizes come to `max_bytes`; at least one where there is any.
fn take_bounded<T>(
    items: impl Iterator<Item = T>,
    max_bytes: usize,
    out: &mut Vec<T>,
    size: impl Fn(&T) -> usize,
) {
    let mut taken_bytes = 0;
    for item in items {
        let item_bytes = size(&item);
        if !out.is_empty() && taken_bytes + item_bytes > max_bytes {
            return;
        }
        taken_bytes += item_bytes;
        out.push(item);
    }
}

/// The batches in frames of one segment.
fn to_batches(slot: &Slot, frames: Vec<(FrameHeader, Bytes)>) -> Result<Vec<StoredBatch>, ReadError> {
    let mut batches = Vec::with_capacity(frames.len());
    for (frame, body) in frames {
        let Ok(batch) = Batch::from_trusted(body) else {
            // Its checksum is right, so it was written like this.
            let reason = "an entry that should hold a record batch holds something else";
            let damage = Damage { last_index: Some(frame.index), ..slot.damage(0, frame.index, reason) };
            return if batches.is_empty() { Err(damage.into()) } else { Ok(batches) };
        };
        let log_id = LogId::new(frame.term, frame.index);
        batches.push(StoredBatch { log_id, append_time: frame.append_time, batch });
    }
    Ok(batches)
}

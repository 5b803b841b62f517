//! Reading: from the tail cache, else from the files.

use super::state::{LogState, Op};
use super::{LogInner, StoredBatch};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, Salt};
use crate::replay::to_entry;
use crate::scan::{ScanError, find_header, read_frame, read_header};
use crate::segment::{Segment, Slot};
use crate::segment_file::{LoadIndexError, load_index, open_for_reading, read_checkpoint};
use crate::sparse_index::{INDEX_INTERVAL_BYTES, IndexPoint, SparseIndex};
use crate::window::Window;
use crate::{Damage, EndState, Entry, EntryKind, FileError, LogId, ReadError, StopReason};
use std::sync::Arc;
use varve_record::{Batch, Index, Offset, Timestamp};

/// The most bytes read at once, however much is asked for.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A segment may be deleted while it is looked for; after so many tries something else is wrong.
const TRIES_MAX: usize = 8;

/// What a read looks for first.
#[derive(Clone, Copy, Debug)]
enum Want {
    Index(Index),
    Offset(Offset),
    Time(Timestamp),
}

impl Want {
    /// Whether the frame lies wholly before what is wanted.
    fn is_behind(self, frame: &FrameHeader) -> bool {
        match self {
            Self::Index(index) => frame.index < index,
            Self::Offset(offset) => frame.next_offset() <= offset,
            Self::Time(time) => frame.append_time < time,
        }
    }

    /// Whether what is wanted may lie before this frame, so that a flaw before it matters.
    fn may_precede(self, frame: &FrameHeader) -> bool {
        match self {
            Self::Index(index) => index < frame.index,
            Self::Offset(offset) => offset < frame.base_offset,
            Self::Time(_) => true,
        }
    }

    fn point(self, index: &SparseIndex) -> Option<IndexPoint> {
        match self {
            Self::Index(wanted) => index.before_index(wanted),
            Self::Offset(wanted) => index.before_offset(wanted),
            Self::Time(wanted) => index.before_time(wanted),
        }
    }
}

/// Where a read ends.
#[derive(Clone, Copy, Debug)]
struct Until {
    index: Index,
    offset: Offset,
    max_bytes: usize,
}

/// What one segment gave.
enum Piece {
    /// The segment is read to its end, or what is wanted lies further on.
    Exhausted,
    /// All that was asked for is there.
    Done,
    /// The segment was deleted meanwhile.
    Dropped,
}

impl LogInner {
    pub(crate) fn entries(
        self: &Arc<Self>,
        from: Index,
        until: Index,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let mut next = from;
        let mut left = max_bytes;
        for _ in 0..TRIES_MAX {
            let (place, bounds) = {
                let state = self.lock();
                let end = state.next_index().min(until);
                if let Some(damage) = state.damage_behind_end().filter(|_| end <= from && from < until) {
                    return Err(ReadError::Damaged(damage));
                }
                if next >= end || (left == 0 && !entries.is_empty()) {
                    return Ok(entries);
                }
                if next < state.first_index() {
                    let purged = ReadError::Purged { first_index: state.first_index() };
                    return if entries.is_empty() { Err(purged) } else { Ok(entries) };
                }
                if let Some(reason) = state.failed().filter(|_| next >= state.durable_below) {
                    return if entries.is_empty() { Err(ReadError::Stopped(reason)) } else { Ok(entries) };
                }
                let end = if state.failed().is_some() { end.min(state.durable_below) } else { end };
                if let Some(cached) = state.cache.starting_at(next) {
                    let cached = cached.take_while(|entry| entry.log_id.index < end).cloned();
                    take_bounded(cached, left, &mut entries, |entry| entry.body.len());
                    return Ok(entries);
                }
                let bounds =
                    Until { index: end.min(state.durable_below), offset: Offset::MAX, max_bytes: left };
                (state.place(Want::Index(next)), bounds)
            };
            let Some((slot, point)) = place else { return Ok(entries) };
            let mut frames = Vec::new();
            let piece = self.read_segment(&slot, point, Want::Index(next), bounds, &|_| true, &mut frames);
            match piece {
                Ok(Piece::Dropped) => continue,
                Err(error) if entries.is_empty() && frames.is_empty() => return Err(error),
                Err(_) => return Ok(extend_entries(entries, frames)),
                Ok(Piece::Done | Piece::Exhausted) => {}
            }
            if frames.is_empty() {
                return Ok(entries);
            }
            left = left.saturating_sub(frames.iter().map(|(_, body)| body.len()).sum());
            entries = extend_entries(entries, frames);
            next = entries.last().map_or(next, |entry: &Entry| entry.log_id.index.next());
        }
        Ok(entries)
    }

    pub(crate) fn try_entries_cached(&self, from: Index, until: Index, max_bytes: usize) -> Option<Vec<Entry>> {
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
        let mut after: Option<Index> = None;
        for _ in 0..TRIES_MAX {
            let (place, bounds) = {
                let state = self.lock();
                if from < state.log_start {
                    return Err(ReadError::Trimmed { log_start: state.log_start });
                }
                if from >= until {
                    return Ok(Vec::new());
                }
                if from >= state.end.next_offset {
                    return state.damage_behind_end().map_or(Ok(Vec::new()), |d| Err(ReadError::Damaged(d)));
                }
                if let Some(batches) = state.read_cached(from, until, max_bytes) {
                    return Ok(batches);
                }
                let bounds = Until { index: state.durable_below, offset: until, max_bytes };
                let place = match after {
                    Some(index) => state.place(Want::Index(index)),
                    None => state.place(Want::Offset(from)),
                };
                (place, bounds)
            };
            let Some((slot, point)) = place else { return Ok(Vec::new()) };
            let mut frames = Vec::new();
            let is_batch = |frame: &FrameHeader| frame.kind == FrameKind::Entry(EntryKind::Batch);
            match self.read_segment(&slot, point, Want::Offset(from), bounds, &is_batch, &mut frames) {
                Ok(Piece::Dropped) => continue,
                Err(error) if frames.is_empty() => return Err(error),
                Ok(Piece::Exhausted) if frames.is_empty() && slot.next_index < bounds.index => {
                    // The segment ends before what is wanted: its last entries hold no records.
                    after = Some(slot.next_index);
                    continue;
                }
                Err(_) | Ok(_) => return self.to_batches(&slot, frames),
            }
        }
        Ok(Vec::new())
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
                let bounds = Until { index: state.durable_below, offset: Offset::MAX, max_bytes: 0 };
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
        frames: &mut Vec<(FrameHeader, bytes::Bytes)>,
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
        frames: &mut Vec<(FrameHeader, bytes::Bytes)>,
    ) -> Result<Piece, ReadError> {
        if slot.segment.first_index >= until.index {
            // Nothing in it is durable: it may not even be on the disk yet.
            return Ok(Piece::Exhausted);
        }
        let damaged = |position, first_index, last_index, reason| {
            let file = slot.segment.path.clone();
            ReadError::Damaged(Damage { file, position, first_index, last_index, reason })
        };
        let behind = slot.next_index.prev().filter(|_| slot.next_index.get() != u64::MAX);
        let header =
            slot.segment.header.map_err(|reason| damaged(0, slot.segment.first_index, behind, reason))?;
        let failed = |e| ReadError::Io(FileError::new("read", &slot.segment.path, e));
        let file = open_for_reading(&self.shared, &slot.segment)?;
        let point = match point {
            Some(point) => Some(point),
            None => want.point(&*self.sealed_index(slot)?),
        };
        let salt = Salt::new(header.incarnation);
        let (mut position, mut next_index) =
            point.map_or((header.first_position, header.first_index), |point| (point.position, point.index));
        let ahead = until.max_bytes.min(READ_BYTES_MAX) + INDEX_INTERVAL_BYTES as usize + FRAME_HEADER_BYTES;
        let mut window = Window::new(&*file, slot.end).with_read_ahead(ahead);
        let end_index = until.index.min(slot.next_index);
        let mut taken_bytes = 0;
        while next_index < end_index {
            let frame = match read_header(&mut window, salt, position).map_err(failed)? {
                Ok(frame) if frame.index == next_index => frame,
                found => {
                    let reason =
                        found.err().map_or("a frame is not the one that belongs here", |f| f.reason());
                    let next = skip_flaw(&mut window, salt, position, next_index).map_err(failed)?;
                    match next {
                        // What is wanted lies behind the flaw.
                        Some((at, frame)) if frames.is_empty() && !want.may_precede(&frame) => {
                            (position, next_index) = (at, frame.index);
                            continue;
                        }
                        next => {
                            let last = next.and_then(|(_, frame)| frame.index.prev()).or(behind);
                            return Err(damaged(position, next_index, last, reason));
                        }
                    }
                }
            };
            if frame.base_offset >= until.offset {
                return Ok(Piece::Done);
            }
            let wanted = !want.is_behind(&frame) && accept(&frame);
            if wanted {
                let body_bytes = frame.body_len as usize;
                if !frames.is_empty() && taken_bytes + body_bytes > until.max_bytes {
                    return Ok(Piece::Done);
                }
                let (_, body) = match read_frame(&mut window, salt, position).map_err(failed)? {
                    Ok(frame) => frame,
                    Err(fault) => {
                        return Err(damaged(position, frame.index, Some(frame.index), fault.reason()));
                    }
                };
                frames.push((frame, body));
                taken_bytes += body_bytes;
                if taken_bytes >= until.max_bytes {
                    return Ok(Piece::Done);
                }
            }
            position += frame.frame_len();
            next_index = frame.index.next();
        }
        Ok(Piece::Exhausted)
    }

    /// The sparse index of a segment that is written to no more.
    fn sealed_index(self: &Arc<Self>, slot: &Slot) -> Result<Arc<SparseIndex>, ReadError> {
        let (index, save) =
            load_index(&self.shared, slot).map_err(|LoadIndexError::File(error)| ReadError::Io(error))?;
        if save && slot.next_index.get() != u64::MAX {
            tracing::info!(segment = %slot.segment.path.display(), "sparse index was missing or wrong: made anew");
            self.enqueue([Op::SaveIndex { segment: Arc::clone(&slot.segment), index: Arc::clone(&index) }]);
        }
        Ok(index)
    }

    fn to_batches(
        &self,
        slot: &Slot,
        frames: Vec<(FrameHeader, bytes::Bytes)>,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        let mut batches = Vec::with_capacity(frames.len());
        for (frame, body) in frames {
            let Ok(batch) = Batch::from_trusted(body) else {
                // Its checksum is right, so it was written like this.
                let (file, index) = (slot.segment.path.clone(), frame.index);
                let reason = "an entry that should hold a record batch holds something else";
                let damage =
                    Damage { file, position: 0, first_index: index, last_index: Some(index), reason };
                return if batches.is_empty() { Err(ReadError::Damaged(damage)) } else { Ok(batches) };
            };
            let log_id = LogId::new(frame.term, frame.index);
            batches.push(StoredBatch { log_id, append_time: frame.append_time, batch });
        }
        Ok(batches)
    }
}

impl LogState {
    /// Why the log failed, if it did: what is not durable is not served then.
    fn failed(&self) -> Option<StopReason> {
        self.stopped.clone().filter(|reason| matches!(reason, StopReason::Failed(_)))
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

fn extend_entries(mut entries: Vec<Entry>, frames: Vec<(FrameHeader, bytes::Bytes)>) -> Vec<Entry> {
    entries.extend(frames.iter().filter_map(|(frame, body)| to_entry(frame, body)));
    entries
}

/// The next sound frame behind a flaw that is further on than `missing`.
fn skip_flaw(
    window: &mut Window<'_>,
    salt: Salt,
    position: u64,
    missing: Index,
) -> std::io::Result<Option<(u64, FrameHeader)>> {
    let mut from = position + crate::frame::FRAME_ALIGN;
    loop {
        match find_header(window, salt, from) {
            Ok(Some((at, frame))) if frame.index > missing && matches!(frame.kind, FrameKind::Entry(_)) => {
                return Ok(Some((at, frame)));
            }
            Ok(Some((at, _))) => from = at + crate::frame::FRAME_ALIGN,
            Ok(None) | Err(ScanError::Newer(_)) => return Ok(None),
            Err(ScanError::Io(e)) => return Err(e),
        }
    }
}

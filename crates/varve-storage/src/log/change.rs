//! Truncation and reset: a new segment supersedes what is taken back.

use super::LogInner;
use super::state::{Previous, new_slot};
use super::writer::{Halt, LogWriter};
use crate::frame::Salt;
use crate::replay::{Start, replay};
use crate::scan::{ScanError, read_header};
use crate::segment::{Segment, Slot};
use crate::segment_file::{load_index, open_for_reading, read_checkpoint};
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::sparse_index::SparseIndex;
use crate::window::Window;
use crate::{Damage, EndState, FileError, LogError};
use std::sync::Arc;
use varve_record::Index;

/// The state to go on from, and where the segment that stays is cut.
struct Cut {
    state: EndState,
    /// Nothing before the cut belongs to the log.
    begins_anew: bool,
    /// The segment before the one that is to begin at the cut, be it still there or trimmed, and where it ends.
    previous: Option<Previous>,
    /// The segment that keeps entries before the cut, where it now ends, and its index up to there.
    kept: Option<(Slot, u64, Arc<SparseIndex>)>,
}

impl LogWriter {
    /// Takes back all entries after `last_kept`. All that was queued before is on the disk. The new segment's name is what
    /// makes it so: before it is durable the old entries stand, after it they are gone.
    pub(super) fn truncate(
        &mut self,
        log: &LogInner,
        last_kept: Option<Index>,
    ) -> Result<Result<(), LogError>, Halt> {
        let from = {
            let state = log.lock();
            let (first, last) = (state.first_index(), state.end.last);
            let beginning = state.slots.first().segment.header.is_ok_and(|header| header.previous.is_none());
            let from = last_kept.map_or(first, Index::next);
            if let Some(committed) = state.committed.filter(|committed| from <= *committed) {
                return Ok(Err(LogError::Committed { last_kept, committed }));
            }
            if from < first || from > state.next_index() || (last_kept.is_none() && !beginning) {
                let last = last.map(|last| last.index);
                return Ok(Err(LogError::OutOfRange { last_kept, first, last }));
            }
            if from == state.next_index() && !state.end_in_doubt {
                return Ok(Ok(()));
            }
            from
        };
        match find_cut(log, from) {
            Ok(cut) => self.replace(log, from, cut, false).map(Ok),
            Err(CutError::Damaged(damage)) => {
                log.lock().note_damage(&damage);
                Ok(Err(LogError::Damaged(damage)))
            }
            Err(CutError::File(error)) => Ok(Err(LogError::File(error))),
        }
    }

    /// Drops every entry and goes on from `state`.
    pub(super) fn reset(&mut self, log: &LogInner, state: &EndState) -> Result<(), Halt> {
        let cut = Cut { state: state.clone(), begins_anew: true, previous: None, kept: None };
        self.replace(log, state.next_index(), cut, true)
    }

    /// Makes the segment that begins at `from` and takes away those that it supersedes.
    fn replace(&mut self, log: &LogInner, from: Index, cut: Cut, reset: bool) -> Result<(), Halt> {
        let header = log.lock().next_header(&log.planner(), cut.previous, &cut.state, from, cut.begins_anew);
        let segment = Arc::new(Segment::new(&log.dir, header));
        self.go_on_in(log, &segment, &cut.state)?;
        let superseded = {
            let mut state = log.lock();
            let taken =
                if reset { state.slots.take_from(Index::new(0)) } else { state.slots.take_from(from) };
            if let Some((slot, end, index)) = &cut.kept
                && let Some(kept) = state.slots.find_mut(slot.segment.sequence)
            {
                kept.end = *end;
                kept.next_index = from;
                kept.index = Some(Arc::clone(index));
            }
            state.slots.push(new_slot(&segment, &header));
            state.index = SparseIndex::default();
            state.cache.truncate(if reset { Index::new(0) } else { from });
            let base = state.slots.first().segment.base_offset().unwrap_or_default();
            state.log_start = if reset {
                cut.state.log_start_offset.max(base)
            } else {
                state.log_start.min(cut.state.log_start_offset.max(base).max(state.trimmed_to))
            };
            if reset {
                state.trimmed_to = state.log_start;
            }
            state.end = cut.state;
            state.durable_below = from;
            if reset || state.damage.as_ref().is_some_and(|damage| damage.first_index >= from) {
                state.damage = None;
            }
            state.end_in_doubt = false;
            state.end_lost = false;
            taken.into_iter().map(|slot| slot.segment).collect::<Vec<_>>()
        };
        superseded.iter().for_each(|segment| segment.mark_dropped());
        if let Some((slot, _, index)) = cut.kept {
            log.shared.indexes.remove(slot.segment.key());
            self.tidy_index(slot.segment, index);
        }
        self.tidy_delete(superseded);
        Ok(())
    }
}

impl Cut {
    /// Entries before the cut are kept in a segment that ends there.
    fn behind(kept: Slot, end: u64, index: Arc<SparseIndex>, state: EndState) -> Self {
        let previous = Some(Previous { sequence: kept.segment.sequence, end });
        Self { state, begins_anew: false, previous, kept: Some((kept, end, index)) }
    }
}

enum CutError {
    Damaged(Damage),
    File(FileError),
}

/// The state before entry `from`, by the checkpoint of the segment that holds the entry before it.
fn find_cut(log: &LogInner, from: Index) -> Result<Cut, CutError> {
    let slots = log.lock().slots.clone();
    let mut place = slots.place_of_index(from).unwrap_or(0);
    let found = &slots.all()[place].segment;
    if place > 0 && found.header.is_err() && found.first_index == from {
        // All of a segment goes whose head cannot be read: the one before it says what is kept.
        place -= 1;
    }
    let slot = &slots.all()[place];
    let header = slot.segment.header.map_err(|reason| damaged(slot, 0, slot.segment.first_index, reason))?;
    if from > header.first_index {
        let (state, end, index) = replay_until(log, slot, &header, from)?;
        return Ok(Cut::behind(slot.clone(), end, Arc::new(index), state));
    }
    // The segment goes as a whole; its checkpoint is the state to go on from.
    let state = checkpoint_of(log, slot, &header)?;
    let kept = place.checked_sub(1).map(|before| slots.all()[before].clone());
    let Some(kept) = kept else {
        // What it followed was trimmed, and its file may still be there: then it is found again by the next start.
        return Ok(Cut { state, begins_anew: header.reset, previous: Previous::of(&header), kept: None });
    };
    let (index, _) = load_index(&log.shared, &kept).map_err(CutError::File)?;
    let end = kept.end;
    Ok(Cut::behind(kept, end, index, state))
}

fn checkpoint_of(log: &LogInner, slot: &Slot, header: &SegmentHeader) -> Result<EndState, CutError> {
    let file = open_for_reading(&log.shared, &slot.segment).map_err(CutError::File)?;
    let state = read_checkpoint(&*file, header);
    let state = state.map_err(|e| CutError::File(FileError::new("read", &slot.segment.path, e)))?;
    let position = SEGMENT_HEADER_BYTES as u64;
    state.map_err(|reason| damaged(slot, position, header.first_index, reason))
}

fn replay_until(
    log: &LogInner,
    slot: &Slot,
    header: &SegmentHeader,
    from: Index,
) -> Result<(EndState, u64, SparseIndex), CutError> {
    let state = checkpoint_of(log, slot, header)?;
    let failed = |e| CutError::File(FileError::new("read", &slot.segment.path, e));
    let file = open_for_reading(&log.shared, &slot.segment).map_err(CutError::File)?;
    // The entry at the cut is found by its place: what lies from there on does not matter.
    let end = cut_position(log, slot, header, from)?;
    let start = Start { position: header.first_position, state, index: SparseIndex::default() };
    let mut window = Window::new(&*file, end);
    let replayed = replay(&mut window, header, start, from, log.config.producers_max);
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(ScanError::Io(e)) => return Err(failed(e)),
        Err(ScanError::Newer(_)) => {
            return Err(damaged(slot, header.first_position, from, "a frame was written by a newer version"));
        }
    };
    let reached = replayed.state.last.map_or(header.first_index, |last| last.index.next());
    match replayed.scanned.gaps.first() {
        Some(gap) => Err(damaged(slot, gap.position, gap.first_index, gap.reason)),
        None if reached != from => {
            Err(damaged(slot, replayed.scanned.end, reached, "entries before the cut are missing"))
        }
        None => Ok((replayed.state, replayed.scanned.end, replayed.index)),
    }
}

/// Where the frame of entry `from` begins, walking the headers from the nearest point of the index.
fn cut_position(log: &LogInner, slot: &Slot, header: &SegmentHeader, from: Index) -> Result<u64, CutError> {
    let failed = |e| CutError::File(FileError::new("read", &slot.segment.path, e));
    let file = open_for_reading(&log.shared, &slot.segment).map_err(CutError::File)?;
    let salt = Salt::new(header.incarnation);
    let mut window = Window::new(&*file, slot.end);
    let mut position = header.first_position;
    while position < slot.end {
        match read_header(&mut window, salt, position).map_err(failed)? {
            Ok(frame) if frame.index >= from => break,
            Ok(frame) => position += frame.frame_len(),
            Err(fault) => return Err(damaged(slot, position, from, fault.reason())),
        }
    }
    Ok(position)
}

fn damaged(slot: &Slot, position: u64, first_index: Index, reason: &'static str) -> CutError {
    CutError::Damaged(slot.damage(position, first_index, reason))
}

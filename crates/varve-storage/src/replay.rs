//! The state that a segment's entries lead to.

use crate::frame::{FrameHeader, FrameKind, Salt};
use crate::scan::{Expected, ScanError, Scanned, scan};
use crate::segment_header::SegmentHeader;
use crate::sparse_index::{IndexPoint, SparseIndex};
use crate::window::Window;
use crate::{EndState, Entry, EntryKind, LogId};
use bytes::Bytes;
use std::collections::VecDeque;
use varve_record::Index;

/// Where reading a segment's entries begins, and what is known there.
pub(crate) struct Start {
    pub(crate) position: u64,
    pub(crate) state: EndState,
    pub(crate) index: SparseIndex,
}

/// What reading a segment's entries came to.
pub(crate) struct Replayed {
    pub(crate) scanned: Scanned,
    pub(crate) state: EndState,
    pub(crate) index: SparseIndex,
    /// Where the entries begin that no frame calls durable: what a crash may have left in the cache alone.
    pub(crate) doubtful_from: u64,
}

/// Reads a segment's entries from `start` on, up to the window's end, and applies those below `until`.
pub(crate) fn replay(
    window: &mut Window<'_>,
    header: &SegmentHeader,
    start: Start,
    until: Index,
    producers_max: usize,
) -> Result<Replayed, ScanError> {
    let Start { position, mut state, mut index } = start;
    let next_index = state.last.map_or(header.first_index, |last| last.index.next()).max(header.first_index);
    let expected = Expected {
        index: next_index,
        term: state.last.unwrap_or_default().term,
        base_offset: state.next_offset,
    };
    let mut doubtful = Doubtful::default();
    let mut visit = |frame: &FrameHeader, position: u64, body: &Bytes| {
        let Some(entry) = to_entry(frame, body).filter(|_| frame.index < until) else { return };
        let point = IndexPoint {
            index: frame.index,
            base_offset: frame.base_offset,
            time_before: state.last_append_time,
            position,
        };
        index.note(point);
        let batch = (entry.kind == EntryKind::Batch).then(|| entry.to_batch().ok()).flatten();
        state.apply(&own(entry), batch.as_ref(), producers_max);
        doubtful.note(frame, position);
    };
    let scanned = scan(window, Salt::new(header.incarnation), position, expected, &mut visit)?;
    let doubtful_from = doubtful.entries.front().map_or(scanned.end, |(_, position)| *position);
    Ok(Replayed { scanned, state, index, doubtful_from })
}

/// The entry in a frame; `None` where it is of another kind.
pub(crate) fn to_entry(frame: &FrameHeader, body: &Bytes) -> Option<Entry> {
    let FrameKind::Entry(kind) = frame.kind else { return None };
    Some(Entry {
        log_id: LogId::new(frame.term, frame.index),
        kind,
        append_time: frame.append_time,
        base_offset: frame.base_offset,
        record_count: frame.record_count,
        body: body.clone(),
    })
}

/// A membership is kept: it must not hold a whole read buffer in memory.
fn own(entry: Entry) -> Entry {
    match entry.kind {
        EntryKind::Membership => Entry { body: Bytes::copy_from_slice(&entry.body), ..entry },
        _ => entry,
    }
}

/// Entries that no later frame has called durable so far.
#[derive(Default)]
struct Doubtful {
    entries: VecDeque<(Index, u64)>,
}

impl Doubtful {
    fn note(&mut self, frame: &FrameHeader, position: u64) {
        while self.entries.front().is_some_and(|(index, _)| *index < frame.durable_below) {
            self.entries.pop_front();
        }
        self.entries.push_back((frame.index, position));
    }
}

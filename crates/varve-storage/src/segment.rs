//! One file of a log.

use crate::frame::Salt;
use crate::segment_header::SegmentHeader;
use crate::sparse_index::SparseIndex;
use crate::{Damage, SegmentInfo};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use varve_record::{Index, Offset, PartitionId, Timestamp};

const LOG_SUFFIX: &str = ".log";
const INDEX_SUFFIX: &str = ".index";

/// Names a segment among all of a data directory.
pub(crate) type SegmentKey = (PartitionId, u64);

/// What never changes of a segment. Readers hold it while they read, so that its file is not reused under them.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) partition: PartitionId,
    pub(crate) sequence: u64,
    pub(crate) first_index: Index,
    pub(crate) path: PathBuf,
    /// What its first block says, or what is wrong with it.
    pub(crate) header: Result<SegmentHeader, &'static str>,
    /// It no longer belongs to the log: what is read from its file is to be looked for again.
    dropped: AtomicBool,
}

impl Segment {
    pub(crate) fn new(dir: &Path, header: SegmentHeader) -> Self {
        let name = SegmentName { first_index: header.first_index, sequence: header.sequence };
        Self::found(dir, header.partition, name, Ok(header))
    }

    pub(crate) fn found(
        dir: &Path,
        partition: PartitionId,
        name: SegmentName,
        header: Result<SegmentHeader, &'static str>,
    ) -> Self {
        Self {
            partition,
            sequence: name.sequence,
            first_index: name.first_index,
            path: dir.join(name.log()),
            header,
            dropped: AtomicBool::new(false),
        }
    }

    pub(crate) fn key(&self) -> SegmentKey {
        (self.partition, self.sequence)
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    pub(crate) fn base_offset(&self) -> Option<Offset> {
        self.header.ok().map(|header| header.base_offset)
    }

    pub(crate) fn salt(&self) -> Option<Salt> {
        self.header.ok().map(|header| Salt::new(header.incarnation))
    }

    pub(crate) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }
}

/// A segment's place in its log.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) segment: Arc<Segment>,
    /// Where its frames end, those still to be written included.
    pub(crate) end: u64,
    /// The first entry behind it.
    pub(crate) next_index: Index,
    /// The sparse index, as long as it is not in a file of its own.
    pub(crate) index: Option<Arc<SparseIndex>>,
}

impl Slot {
    /// Damage in this segment, from an entry to the segment's end as far as anybody knows.
    pub(crate) fn damage(&self, position: u64, first_index: Index, reason: &'static str) -> Damage {
        let last_index = self.next_index.prev().filter(|_| self.next_index.get() != u64::MAX);
        Damage { file: self.segment.path.clone(), position, first_index, last_index, reason }
    }
}

/// The segments of a log, oldest first; the last one is written to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self(slots)
    }

    pub(crate) fn all(&self) -> &[Slot] {
        &self.0
    }

    pub(crate) fn push(&mut self, slot: Slot) {
        self.0.push(slot);
    }

    pub(crate) fn first(&self) -> &Slot {
        self.0.first().expect("a log has at least one segment")
    }

    pub(crate) fn last(&self) -> &Slot {
        self.0.last().expect("a log has at least one segment")
    }

    pub(crate) fn last_mut(&mut self) -> &mut Slot {
        self.0.last_mut().expect("a log has at least one segment")
    }

    /// The place of the segment that holds an entry, or would.
    pub(crate) fn place_of_index(&self, index: Index) -> Option<usize> {
        self.0.partition_point(|slot| slot.segment.first_index <= index).checked_sub(1)
    }

    /// The place of the segment where an offset is to be looked for: the first one where no header that can be read names an
    /// offset as low, for then it lies in one that cannot.
    pub(crate) fn place_of_offset(&self, offset: Offset) -> usize {
        let begins_before = |slot: &Slot| slot.segment.base_offset().is_some_and(|base| base <= offset);
        self.0.iter().rposition(begins_before).unwrap_or(0)
    }

    /// The greatest append time up to the end of a segment; of the last one only its owner knows.
    pub(crate) fn time_at_end(&self, place: usize) -> Option<Timestamp> {
        self.0.get(place + 1)?.segment.header.ok().map(|header| header.last_append_time)
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.0.iter().map(|slot| slot.end).sum()
    }

    pub(crate) fn find_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.segment.sequence == sequence)
    }

    /// Takes away the segments that lie wholly before an offset and an entry; never the last.
    pub(crate) fn take_before(&mut self, log_start: Offset, index: Index) -> Vec<Slot> {
        let count = self.count_before(log_start, index);
        self.0.drain(..count).collect()
    }

    /// How many segments lie wholly before an offset and an entry, the last left out.
    pub(crate) fn count_before(&self, log_start: Offset, index: Index) -> usize {
        let goes = |next: &Slot| {
            next.segment.first_index <= index
                && next.segment.base_offset().is_some_and(|base| base <= log_start)
        };
        self.0.iter().skip(1).take_while(|next| goes(next)).count()
    }

    /// Takes away the segments that begin at or behind an entry.
    pub(crate) fn take_from(&mut self, index: Index) -> Vec<Slot> {
        let keep = self.0.partition_point(|slot| slot.segment.first_index < index);
        self.0.drain(keep..).collect()
    }

    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        let info = |slot: &Slot| SegmentInfo {
            sequence: slot.segment.sequence,
            first_index: slot.segment.first_index,
            base_offset: slot.segment.base_offset().unwrap_or_default(),
            size_bytes: slot.end,
        };
        self.0.iter().map(info).collect()
    }
}

/// What a segment's file is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) first_index: Index,
    pub(crate) sequence: u64,
}

impl SegmentName {
    pub(crate) fn log(self) -> String {
        format!("{:020}-{:010}{LOG_SUFFIX}", self.first_index.get(), self.sequence)
    }

    pub(crate) fn index(self) -> String {
        format!("{:020}-{:010}{INDEX_SUFFIX}", self.first_index.get(), self.sequence)
    }

    /// Reads the name of a segment; `None` for any other file.
    pub(crate) fn parse_log(name: &str) -> Option<Self> {
        Self::parse(name, LOG_SUFFIX).filter(|parsed| parsed.log() == name)
    }

    /// Reads the name of a segment's index; `None` for any other file.
    pub(crate) fn parse_index(name: &str) -> Option<Self> {
        Self::parse(name, INDEX_SUFFIX).filter(|parsed| parsed.index() == name)
    }

    fn parse(name: &str, suffix: &str) -> Option<Self> {
        let (first_index, sequence) = name.strip_suffix(suffix)?.split_once('-')?;
        Some(Self { first_index: Index::new(first_index.parse().ok()?), sequence: sequence.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_are_written_and_nothing_else_does() {
        let name = SegmentName { first_index: Index::new(7), sequence: 3 };
        assert_eq!(name.log(), "00000000000000000007-0000000003.log");
        assert_eq!(SegmentName::parse_log(&name.log()), Some(name));
        assert_eq!(SegmentName::parse_index(&name.index()), Some(name));
        for other in ["7-3.log", "00000000000000000007-0000000003.log.tmp", "tail", "x-y.log", "-.log"] {
            assert_eq!(SegmentName::parse_log(other), None, "{other}");
        }
    }
}

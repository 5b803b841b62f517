//! The segments of a log, as they are found in its directory.
//!
//! A segment's valid entries end where a segment with a higher sequence number begins: that is how a truncation is recorded.

use crate::atomic_file::TEMPORARY_SUFFIX;
use crate::segment::{Segment, SegmentName, Slot};
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentHeaderFault};
use crate::window::Window;
use crate::{Damage, FileError, OpenError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use varve_env::disk::{Disk, OpenMode};
use varve_record::{Index, PartitionId};

/// The checkpoint of a clean stop.
pub(crate) const TAIL_FILE: &str = "tail";
/// The owner's snapshot.
pub(crate) const SNAPSHOT_FILE: &str = "snapshot";

/// What is in a log's directory.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) segments: Vec<FoundSegment>,
    pub(crate) indexes: Vec<SegmentName>,
    /// Files that never got their names.
    pub(crate) temporaries: Vec<PathBuf>,
    /// Files that nobody knows.
    pub(crate) unknown: Vec<PathBuf>,
}

/// A segment's file.
pub(crate) struct FoundSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) len_bytes: u64,
}

/// A log's segments, in order, and those that a truncation superseded.
pub(crate) struct Chain {
    pub(crate) kept: Vec<FoundSegment>,
    pub(crate) superseded: Vec<FoundSegment>,
    pub(crate) damage: Option<Damage>,
    /// A segment is missing behind the last one.
    pub(crate) end_missing: bool,
}

impl Chain {
    /// Puts what was found in order.
    pub(crate) fn of(found: Found, dir: &Path) -> Result<Self, OpenError> {
        let Found { mut segments, indexes, .. } = found;
        segments.sort_by_key(|found| std::cmp::Reverse(found.segment.sequence));
        let mut chain = Self { kept: Vec::new(), superseded: Vec::new(), damage: None, end_missing: false };
        let mut reset = false;
        for found in segments {
            let begins = chain.kept.last().map(|next| next.segment.first_index);
            if reset || begins.is_some_and(|begins| found.segment.first_index >= begins) {
                chain.superseded.push(found);
                continue;
            }
            reset = found.segment.header.is_ok_and(|header| header.reset);
            chain.kept.push(found);
        }
        chain.kept.reverse();
        let Some(last) = chain.kept.last() else {
            return Err(OpenError::Untrusted { path: dir.to_path_buf(), reason: "without any segment" });
        };
        // Only a segment that has a successor gets an index.
        let sequence = last.segment.sequence;
        chain.end_missing = indexes.iter().any(|index| index.sequence >= sequence);
        chain.damage = chain.find_damage(dir);
        Ok(chain)
    }

    fn find_damage(&self, dir: &Path) -> Option<Damage> {
        let bad_header = self.kept.iter().enumerate().find_map(|(place, found)| {
            let reason = found.segment.header.as_ref().err()?;
            Some(self.damage_of(place, &found.segment.path, reason))
        });
        let hole = self.kept.windows(2).enumerate().find_map(|(place, pair)| {
            let (before, after) = (&pair[0].segment, pair[1].segment.header.as_ref().ok()?);
            let joined = after.previous_sequence == before.sequence;
            (!joined).then(|| self.damage_of(place, dir, "a segment is missing"))
        });
        let end =
            self.end_missing.then(|| self.damage_of(self.kept.len() - 1, dir, "the last segment is missing"));
        bad_header.or(hole).or(end)
    }

    fn damage_of(&self, place: usize, file: &Path, reason: &'static str) -> Damage {
        let behind = self.kept.get(place + 1).and_then(|next| next.segment.first_index.prev());
        let first_index = self.kept[place].segment.first_index;
        Damage { file: file.to_path_buf(), position: 0, first_index, last_index: behind, reason }
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        let slot = |place: usize, found: &FoundSegment| {
            let next = self.kept.get(place + 1);
            let after = next.and_then(|next| next.segment.header.ok());
            let end = after.filter(|header| header.previous_sequence == found.segment.sequence);
            Slot {
                segment: Arc::clone(&found.segment),
                end: end.map_or(found.len_bytes, |header| header.previous_end),
                next_index: next.map_or(Index::new(u64::MAX), |next| next.segment.first_index),
                index: None,
            }
        };
        self.kept.iter().enumerate().map(|(place, found)| slot(place, found)).collect()
    }
}

/// Lists a log's directory and reads the head of every segment in it; changes nothing.
pub(crate) fn look_around(disk: &dyn Disk, dir: &Path, partition: PartitionId) -> Result<Found, OpenError> {
    let entries = disk.list(dir).map_err(|e| FileError::new("list", dir, e))?;
    let mut found = Found::default();
    for entry in entries {
        let path = dir.join(&entry.name);
        if let Some(name) = SegmentName::parse_log(&entry.name) {
            let header = read_segment_header(disk, &path, partition, name)?;
            let segment = Arc::new(Segment::found(dir, partition, name, header));
            found.segments.push(FoundSegment { segment, len_bytes: entry.len_bytes });
        } else if let Some(name) = SegmentName::parse_index(&entry.name) {
            found.indexes.push(name);
        } else if entry.name.ends_with(TEMPORARY_SUFFIX) {
            // Half of a file that never got its name: nothing in it was ever promised.
            found.temporaries.push(path);
        } else if entry.name != TAIL_FILE && entry.name != SNAPSHOT_FILE {
            found.unknown.push(path);
        }
    }
    Ok(found)
}

fn read_segment_header(
    disk: &dyn Disk,
    path: &Path,
    partition: PartitionId,
    name: SegmentName,
) -> Result<Result<SegmentHeader, &'static str>, OpenError> {
    let file = disk.open(path, OpenMode::Read).map_err(|e| FileError::new("open", path, e))?;
    let mut window = Window::new(&*file, SEGMENT_HEADER_BYTES as u64).with_read_ahead(0);
    let block = window.get(0, SEGMENT_HEADER_BYTES).map_err(|e| FileError::new("read", path, e))?;
    let Some(block) = block else { return Ok(Err("the segment's header is cut short")) };
    let block = block[..].try_into().expect("the window gives what it is asked for");
    match SegmentHeader::decode(block) {
        Ok(header) => {
            let belongs = header.partition == partition
                && header.sequence == name.sequence
                && header.first_index == name.first_index;
            Ok(if belongs { Ok(header) } else { Err("the segment belongs to another place") })
        }
        Err(SegmentHeaderFault::Damaged(reason)) => Ok(Err(reason)),
        Err(SegmentHeaderFault::Newer(found)) => Err(OpenError::Newer { path: path.to_path_buf(), found }),
    }
}

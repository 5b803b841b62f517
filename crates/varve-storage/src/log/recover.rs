//! How a log is opened: what is found in its directory, and what is made of it.

use super::state::{LogState, Previous, new_header, new_slot};
use super::writer::LogWriter;
use crate::atomic_file::{AtomicKind, read_atomic};
use crate::chain::{Chain, FoundSegment, TAIL_FILE, look_around};
use crate::replay::{Replayed, Start, replay};
use crate::scan::ScanError;
use crate::segment::{Segment, SegmentName, Slots};
use crate::segment_file::{Tail, create_segment, delete_segment, read_checkpoint};
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::shared::Shared;
use crate::sparse_index::SparseIndex;
use crate::tail_cache::TailCache;
use crate::window::Window;
use crate::{Damage, EndState, FileError, LogId, OpenError, PartitionConfig};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{DiskFile, OpenMode};
use varve_record::{Index, PartitionId};

/// A rewrite of doubtful entries goes in pieces of this size.
const REWRITE_BYTES: u64 = 1024 * 1024;

/// Makes the first segment of a new log in `dir`, which will be renamed to `final_dir`.
pub(crate) fn create_first_segment(
    shared: &Shared,
    dir: &Path,
    partition: PartitionId,
    config: &PartitionConfig,
) -> Result<(), OpenError> {
    let state = EndState::default();
    let header = new_header(partition, &*shared.entropy, 1, None, &state, Index::new(0), false);
    let path = dir.join(SegmentName { first_index: header.first_index, sequence: header.sequence }.log());
    create_segment(shared, &path, &header, &state, config.segment_bytes)?;
    Ok(())
}

/// Opens the log in `dir`.
pub(crate) fn recover(
    shared: &Shared,
    dir: &Path,
    partition: PartitionId,
    config: &PartitionConfig,
) -> Result<(LogState, LogWriter), OpenError> {
    let found = look_around(&*shared.disk, dir, partition)?;
    for path in &found.temporaries {
        shared.disk.remove_file(path).map_err(|e| FileError::new("remove", path, e))?;
    }
    for path in &found.unknown {
        tracing::warn!(path = %path.display(), "unknown file is left alone");
    }
    let next_sequence = found.segments.iter().map(|f| f.segment.sequence).max().unwrap_or(0) + 1;
    let chain = Chain::of(found, dir)?;
    let tail = Ending::read(shared, dir, &chain.kept, config)?;
    let mut log = Assembled { shared, dir, partition, config, next_sequence, chain, ending: tail };
    log.finish()
}

/// What the last segment says of the log's end.
struct Ending {
    state: EndState,
    index: SparseIndex,
    /// Behind the last sound frame.
    position: u64,
    damage: Option<Damage>,
    /// Entries behind the last one that was found are lost too.
    end_lost: bool,
    /// Sound frames that were never durable lie behind.
    leftovers: bool,
    /// All is durable: nothing was written since a clean stop.
    clean: bool,
    /// Where to begin to write again what may lie in the cache alone.
    doubtful_from: u64,
    file: Option<Arc<dyn DiskFile>>,
    len_bytes: u64,
}

impl Ending {
    fn read(
        shared: &Shared,
        dir: &Path,
        kept: &[FoundSegment],
        config: &PartitionConfig,
    ) -> Result<Self, OpenError> {
        let last = kept.last().expect("a chain has at least one segment");
        let segment = &last.segment;
        let header = match segment.header {
            Ok(header) => header,
            Err(reason) => {
                let state = state_before_last(shared, kept, config)?;
                return Ok(Self::unreadable(state, segment, reason, last.len_bytes));
            }
        };
        let failed = |e| FileError::new("read", &segment.path, e);
        let file = shared.disk.open(&segment.path, OpenMode::Write);
        let file = file.map_err(|e| FileError::new("open", &segment.path, e))?;
        let left = read_tail(shared, dir).filter(|tail| tail.speaks_of(&header));
        let stopped_at = left.as_ref().map(|tail| (tail.position, tail.state.last.map(|last| last.index)));
        let tail = left.filter(|tail| tail.fits(&header, last.len_bytes));
        let from_tail = tail.as_ref().map(|tail| tail.position);
        let (start, at_checkpoint) = match tail {
            Some(tail) => (Start { position: tail.position, state: tail.state, index: tail.index }, None),
            None => start_at_head(&*file, segment, &header)?,
        };
        let mut window = Window::new(&*file, last.len_bytes);
        let replayed = replay(&mut window, &header, start, Index::new(u64::MAX), config.producers_max);
        let Replayed { scanned, state, index, doubtful_from } = match replayed {
            Ok(replayed) => replayed,
            Err(ScanError::Io(e)) => return Err(failed(e).into()),
            Err(ScanError::Newer(kind)) => {
                return Err(OpenError::Newer { path: segment.path.clone(), found: kind.into() });
            }
        };
        let at_gap = scanned.gaps.first().map(|gap| Damage {
            file: segment.path.clone(),
            position: gap.position,
            first_index: gap.first_index,
            last_index: gap.last_index,
            reason: gap.reason,
        });
        // All up to where a clean stop was had been synced by then.
        let at_stop =
            stopped_at.filter(|(position, _)| *position > scanned.end).map(|(_, last_index)| Damage {
                file: segment.path.clone(),
                position: scanned.end,
                first_index: state.next_index(),
                last_index,
                reason: "entries are missing that a clean stop had synced",
            });
        let end_lost = at_stop.is_some() || scanned.gaps.last().is_some_and(|gap| gap.last_index.is_none());
        Ok(Self {
            state,
            index,
            position: scanned.end,
            damage: at_checkpoint.or(at_gap).or(at_stop),
            end_lost,
            leftovers: scanned.leftovers,
            clean: from_tail == Some(scanned.end) && !scanned.leftovers,
            doubtful_from,
            file: Some(file),
            len_bytes: last.len_bytes,
        })
    }

    /// Nothing can be read of the last segment: the log's end is the one before it, as far as that is known.
    fn unreadable(state: EndState, segment: &Segment, reason: &'static str, len_bytes: u64) -> Self {
        let damage = Damage {
            file: segment.path.clone(),
            position: 0,
            first_index: segment.first_index,
            last_index: None,
            reason,
        };
        Self {
            state,
            index: SparseIndex::default(),
            position: len_bytes,
            damage: Some(damage),
            end_lost: true,
            leftovers: false,
            clean: false,
            doubtful_from: len_bytes,
            file: None,
            len_bytes,
        }
    }

    /// Writes again what no frame calls durable, and syncs: a sync that failed before may have left it in the cache, where it
    /// passes for written and is not.
    fn make_durable(&self, path: &Path) -> Result<(), FileError> {
        let Some(file) = self.file.as_ref().filter(|_| !self.clean) else { return Ok(()) };
        let mut position = self.doubtful_from;
        while position < self.position {
            let len = (self.position - position).min(REWRITE_BYTES);
            let mut piece = vec![0; usize::try_from(len).expect("a piece is small")];
            file.read_exact_at(&mut piece, position).map_err(|e| FileError::new("read", path, e))?;
            file.write_all_at(&mut [IoSlice::new(&piece)], position)
                .map_err(|e| FileError::new("write", path, e))?;
            position += len;
        }
        file.sync_data().map_err(|e| FileError::new("sync", path, e))
    }
}

struct Assembled<'a> {
    shared: &'a Shared,
    dir: &'a Path,
    partition: PartitionId,
    config: &'a PartitionConfig,
    next_sequence: u64,
    chain: Chain,
    ending: Ending,
}

impl Assembled<'_> {
    fn finish(&mut self) -> Result<(LogState, LogWriter), OpenError> {
        let end_in_doubt = self.ending.damage.is_some() || self.chain.end_missing;
        let damage = self.ending.damage.clone().or(self.chain.damage.clone());
        let mut slots = Slots::new(self.chain.slots());
        slots.last_mut().end = self.ending.position;
        let last = Arc::clone(&slots.last().segment);
        if !end_in_doubt && !self.ending.clean {
            self.ending.make_durable(&last.path)?;
            self.shared.disk.sync_dir(self.dir).map_err(|e| FileError::new("sync", self.dir, e))?;
        }
        // A log that was stopped cleanly may stay idle: it holds no file until it is written to.
        let file = self.ending.file.take().filter(|_| !self.ending.clean);
        let writer = LogWriter::new(last, file, self.ending.position, self.ending.len_bytes);
        let mut log = self.state(slots, damage, end_in_doubt);
        let writer = if end_in_doubt || !self.ending.leftovers {
            writer
        } else {
            drop(writer);
            self.go_on_elsewhere(&mut log)?
        };
        if log.damage.is_none() {
            for mut found in self.chain.superseded.drain(..) {
                delete_segment(self.shared, &mut found.segment)?;
            }
        }
        Ok((log, writer))
    }

    fn state(&self, slots: Slots, damage: Option<Damage>, end_in_doubt: bool) -> LogState {
        let end = self.ending.state.clone();
        let first_index = slots.last().segment.first_index;
        let next_index = end.last.map_or(first_index, |last| last.index.next()).max(first_index);
        let base = slots.first().segment.base_offset().unwrap_or_default();
        if let Some(damage) = &damage {
            tracing::error!(partition = %self.partition, %damage, "damage found");
        }
        LogState {
            index: self.ending.index.clone(),
            durable_below: next_index,
            committed: None,
            log_start: end.log_start_offset.max(base),
            trimmed_to: base,
            next_sequence: self.next_sequence,
            cache: TailCache::new(self.config.tail_cache_bytes, Arc::clone(&self.shared.budget)),
            queued_bytes: 0,
            queued_entries: 0,
            truncating: false,
            full: false,
            stopped: None,
            damage,
            end_in_doubt,
            end_lost: self.ending.end_lost || self.chain.end_missing,
            appends: 0,
            appends_at_last_tick: 0,
            idle: self.ending.clean,
            slots,
            end,
        }
    }

    /// The tail was torn and frames lie behind it that were never durable: they must never come back, so the log goes on in a
    /// new segment, as after a truncation.
    fn go_on_elsewhere(&mut self, log: &mut LogState) -> Result<LogWriter, OpenError> {
        let next_index = log.next_index();
        let old = log.slots.last();
        let previous = if next_index > old.segment.first_index {
            Some(Previous { sequence: old.segment.sequence, end: self.ending.position })
        } else {
            let header = old.segment.header.ok();
            header.map(|h| Previous { sequence: h.previous_sequence, end: h.previous_end })
        };
        let sequence = log.next_sequence;
        log.next_sequence += 1;
        let entropy = &*self.shared.entropy;
        let header = new_header(self.partition, entropy, sequence, previous, &log.end, next_index, false);
        let header = SegmentHeader { reset: self.begins_anew(log, next_index), ..header };
        let segment = Arc::new(Segment::new(self.dir, header));
        let created =
            create_segment(self.shared, &segment.path, &header, &log.end, self.config.segment_bytes);
        let (file, len_bytes) = created?;
        let index = Arc::new(std::mem::take(&mut log.index));
        let superseded = log.slots.take_from(next_index);
        if let Some(kept) =
            log.slots.find_mut(previous.map_or(0, |p| p.sequence)).filter(|_| superseded.is_empty())
        {
            kept.next_index = next_index;
            kept.index = Some(index);
        }
        log.slots.push(new_slot(&segment, &header));
        for slot in superseded {
            let found = FoundSegment { segment: slot.segment, len_bytes: 0 };
            self.chain.superseded.push(found);
        }
        self.chain.kept.clear();
        Ok(LogWriter::new(segment, Some(file), header.first_position, len_bytes))
    }

    /// The segment that is superseded as a whole began the log anew: so must its successor.
    fn begins_anew(&self, log: &LogState, next_index: Index) -> bool {
        let old = &log.slots.last().segment;
        next_index == old.first_index && old.header.is_ok_and(|header| header.reset)
    }
}

/// The state before the last segment, whose header cannot be read: as far as the last one before it whose header can be read
/// says. What a truncation took back may lie at that one's end; the name of its successor says where.
fn state_before_last(
    shared: &Shared,
    kept: &[FoundSegment],
    config: &PartitionConfig,
) -> Result<EndState, OpenError> {
    let until = |place: usize| kept[place].segment.first_index;
    let readable =
        (0..kept.len() - 1).rev().find_map(|place| Some((place, kept[place].segment.header.ok()?)));
    let mut state = match readable {
        Some((place, header)) => state_until(shared, &kept[place], &header, until(place + 1), config)?,
        None => EndState::default(),
    };
    let before_last = until(kept.len() - 1).prev();
    if state.last.map(|last| last.index) != before_last {
        let term = state.last.unwrap_or_default().term;
        state.last = before_last.map(|index| LogId { term, index });
    }
    Ok(state)
}

/// The state before entry `until`, by one segment, or as near to it as the segment can be read.
fn state_until(
    shared: &Shared,
    found: &FoundSegment,
    header: &SegmentHeader,
    until: Index,
    config: &PartitionConfig,
) -> Result<EndState, OpenError> {
    let path = &found.segment.path;
    let file = shared.disk.open(path, OpenMode::Read).map_err(|e| FileError::new("open", path, e))?;
    let (start, _) = start_at_head(&*file, &found.segment, header)?;
    let mut window = Window::new(&*file, found.len_bytes);
    match replay(&mut window, header, start, until, config.producers_max) {
        Ok(replayed) => Ok(replayed.state),
        Err(ScanError::Io(e)) => Err(FileError::new("read", path, e).into()),
        Err(ScanError::Newer(kind)) => Err(OpenError::Newer { path: path.clone(), found: kind.into() }),
    }
}

/// The state at a segment's head, and what is wrong with its checkpoint.
fn start_at_head(
    file: &dyn DiskFile,
    segment: &Segment,
    header: &SegmentHeader,
) -> Result<(Start, Option<Damage>), OpenError> {
    let read = read_checkpoint(file, header).map_err(|e| FileError::new("read", &segment.path, e))?;
    let (state, damage) = match read {
        Ok(state) => (state, None),
        Err(reason) => {
            let (file, position) = (segment.path.clone(), SEGMENT_HEADER_BYTES as u64);
            let damage = Damage { file, position, first_index: header.first_index, last_index: None, reason };
            (state_of_header(header), Some(damage))
        }
    };
    Ok((Start { position: header.first_position, state, index: SparseIndex::default() }, damage))
}

/// What is left to know where the checkpoint cannot be read. The log's start is not: all that is there may be read.
fn state_of_header(header: &SegmentHeader) -> EndState {
    EndState {
        next_offset: header.base_offset,
        last: header.previous,
        last_append_time: header.last_append_time,
        ..EndState::default()
    }
}

fn read_tail(shared: &Shared, dir: &Path) -> Option<Tail> {
    match read_atomic(&*shared.disk, &dir.join(TAIL_FILE), AtomicKind::Tail) {
        Ok(content) => Tail::decode(content?),
        Err(error) => {
            // It only saves time: without it the segment is read from its head.
            tracing::warn!(?error, "the checkpoint of the last clean stop cannot be used");
            None
        }
    }
}

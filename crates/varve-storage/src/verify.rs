//! Checks every checksum of every file of a data directory that nobody has open.

use crate::atomic_file::{AtomicError, AtomicKind, read_atomic};
use crate::chain::{Chain, FoundSegment, SNAPSHOT_FILE, TAIL_FILE, look_around};
use crate::departure::is_quarantined;
use crate::frame::{FrameHeader, FrameKind, Salt};
use crate::scan::{Expected, ScanError, Scanned, scan};
use crate::segment::Slot;
use crate::segment_file::{Tail, read_checkpoint};
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::sparse_index::{IndexPoint, SparseIndex};
use crate::storage::{LOCK_FILE, NODE_FILE, PARTITIONS_DIR, VOTES_FILE, parse_partition};
use crate::window::Window;
use crate::{Damage, EntryKind, FileError, OpenError, votes};
use bytes::{Buf, Bytes};
use std::io;
use std::path::{Path, PathBuf};
use varve_env::disk::{Disk, OpenMode};
use varve_record::{Batch, PartitionId};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong: an unknown file, or what a crash left and the next start clears away.
    Note,
    /// Nothing is lost, but something will be made anew: an index, the checkpoint of a clean stop.
    Rebuilt,
    /// Data that was durable cannot be read.
    Damage,
}

/// Something worth saying about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// The byte in it; 0 where it concerns the whole file.
    pub position: u64,
    /// What was found.
    pub what: String,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Partitions.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Entries whose header and body are sound.
    pub entries: u64,
    /// Records in their batches.
    pub records: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Findings that are damage.
    pub damaged: u64,
}

/// Checks every checksum of every file in the data directory `dir`, and tells `report` what is worth saying. Changes nothing.
/// Memory is bounded by the largest entry, however large the directory. Blocks for as long as reading all of it takes.
///
/// # Errors
/// Where the directory is none, another process has it open, or it cannot be read. Damage is no error: see
/// [`Summary::damaged`].
pub fn verify(disk: &dyn Disk, dir: &Path, report: &mut dyn FnMut(Finding)) -> Result<Summary, OpenError> {
    let partitions = dir.join(PARTITIONS_DIR);
    let listed = disk.list(&partitions).map_err(|e| FileError::new("list", &partitions, e))?;
    let lock_path = dir.join(LOCK_FILE);
    let _lock = disk.try_lock(&lock_path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_path_buf() },
        _ => FileError::new("lock", &lock_path, error).into(),
    })?;
    let mut verifier = Verifier { disk, report, summary: Summary::default() };
    verifier.atomic(&dir.join(NODE_FILE), AtomicKind::Node, Severity::Damage, |_| true);
    if let Err(error) = votes::read_file(disk, &dir.join(VOTES_FILE)) {
        verifier.damage(&dir.join(VOTES_FILE), 0, error.to_string());
    }
    for entry in listed.iter().filter(|entry| entry.is_dir) {
        let path = partitions.join(&entry.name);
        match parse_partition(&entry.name) {
            Some(id) => verifier.partition(&path, id)?,
            None if is_quarantined(&entry.name) => verifier.note(&path, "is quarantined, and not looked at"),
            None => verifier.note(&path, "is no partition: half made, half removed, or not ours"),
        }
    }
    Ok(verifier.summary)
}

struct Verifier<'a> {
    disk: &'a dyn Disk,
    report: &'a mut dyn FnMut(Finding),
    summary: Summary,
}

impl Verifier<'_> {
    fn partition(&mut self, dir: &Path, id: PartitionId) -> Result<(), OpenError> {
        self.summary.partitions += 1;
        let found = look_around(self.disk, dir, id)?;
        found
            .temporaries
            .iter()
            .for_each(|path| self.note(path, "was never finished; the next start removes it"));
        found.unknown.iter().for_each(|path| self.note(path, "is not a file of this version"));
        self.atomic(&dir.join(SNAPSHOT_FILE), AtomicKind::Snapshot, Severity::Damage, |_| true);
        let tail = dir.join(TAIL_FILE);
        self.atomic(&tail, AtomicKind::Tail, Severity::Rebuilt, |content| Tail::decode(content).is_some());
        let chain = match Chain::of(found, dir) {
            Ok(chain) => chain,
            Err(error) => {
                self.damage(dir, 0, error.to_string());
                return Ok(());
            }
        };
        for found in &chain.superseded {
            self.note(&found.segment.path, "was superseded by a truncation; the next start removes it");
        }
        if let Some(damage) = chain.damage.clone() {
            self.damaged(&damage);
        }
        let stopped = read_atomic(self.disk, &tail, AtomicKind::Tail).ok().flatten().and_then(Tail::decode);
        let slots = chain.slots();
        for (slot, found) in slots.iter().zip(&chain.kept) {
            self.segment(slot, found, stopped.as_ref())?;
        }
        Ok(())
    }

    fn segment(
        &mut self,
        slot: &Slot,
        found: &FoundSegment,
        stopped: Option<&Tail>,
    ) -> Result<(), OpenError> {
        self.summary.segments += 1;
        let path = &slot.segment.path;
        // A header that cannot be read was reported with the chain.
        let Ok(header) = slot.segment.header else { return Ok(()) };
        let failed = |e| FileError::new("read", path, e);
        let file = self.disk.open(path, OpenMode::Read).map_err(failed)?;
        if let Err(reason) = read_checkpoint(&*file, &header).map_err(failed)? {
            self.damage(path, SEGMENT_HEADER_BYTES as u64, reason.to_owned());
        }
        let is_last = slot.next_index.get() == u64::MAX;
        let end = if is_last { found.len_bytes } else { slot.end };
        let index = self.index(slot, &header);
        let mut pass =
            Pass { points: index.points(), wrong_points: 0, no_batch: Vec::new(), entries: 0, records: 0 };
        let mut window = Window::new(&*file, end);
        let scanned = match pass.run(&mut window, &header) {
            Ok(scanned) => scanned,
            Err(ScanError::Io(e)) => return Err(failed(e).into()),
            Err(ScanError::Newer(kind)) => {
                return Err(OpenError::Newer { path: path.clone(), found: kind.into() });
            }
        };
        self.summary.bytes += end;
        self.summary.entries += pass.entries;
        self.summary.records += pass.records;
        let Pass { wrong_points, no_batch, points, .. } = pass;
        if wrong_points + points.len() > 0 {
            self.tell(
                Severity::Rebuilt,
                &slot.segment.index_path(),
                0,
                "does not match its segment".to_owned(),
            );
        }
        for (position, why) in no_batch {
            self.damage(path, position, why);
        }
        self.gaps(slot, &scanned, is_last);
        let stopped = stopped.filter(|tail| is_last && tail.speaks_of(&header));
        if stopped.is_some_and(|tail| tail.position > scanned.end) && scanned.gaps.is_empty() {
            let what = "entries are missing that a clean stop had synced";
            self.damage(path, scanned.end, what.to_owned());
        }
        Ok(())
    }

    fn gaps(&mut self, slot: &Slot, scanned: &Scanned, is_last: bool) {
        let path = slot.segment.path.clone();
        for gap in &scanned.gaps {
            self.damaged(&Damage {
                file: path.clone(),
                position: gap.position,
                first_index: gap.first_index,
                last_index: gap.last_index,
                reason: gap.reason,
            });
        }
        let whole = scanned.gaps.is_empty();
        if whole && !is_last && scanned.end != slot.end {
            self.damage(&path, scanned.end, "entries are missing at the segment's end".to_owned());
        }
        if whole && is_last && scanned.leftovers {
            let what = "the tail was torn by a crash, nothing durable is lost; the next start cuts it";
            self.tell(Severity::Note, &path, scanned.end, what.to_owned());
        }
    }

    /// The segment's index, as its file says; empty where there is none or it will be made anew.
    fn index(&mut self, slot: &Slot, header: &SegmentHeader) -> SparseIndex {
        let path = slot.segment.index_path();
        let mut index = None;
        self.atomic(&path, AtomicKind::Index, Severity::Rebuilt, |mut content| {
            let ours = content.try_get_u64_le().is_ok_and(|incarnation| incarnation == header.incarnation);
            index = SparseIndex::decode(&mut content).filter(|_| ours && content.is_empty());
            index.is_some()
        });
        let mut index = index.unwrap_or_default();
        index.cut(slot.end);
        index
    }

    fn atomic(
        &mut self,
        path: &Path,
        kind: AtomicKind,
        severity: Severity,
        sound: impl FnOnce(Bytes) -> bool,
    ) {
        let what = match read_atomic(self.disk, path, kind) {
            Ok(None) => return,
            Ok(Some(content)) if sound(content.clone()) => return,
            Ok(Some(_)) => "is malformed".to_owned(),
            Err(AtomicError::Damaged(reason)) => reason.to_owned(),
            Err(AtomicError::Newer(version)) => format!("was written by a newer version (format {version})"),
            Err(AtomicError::File(error)) => error.to_string(),
        };
        self.tell(severity, path, 0, what);
    }

    fn damaged(&mut self, damage: &Damage) {
        let range = match damage.last_index {
            Some(last) => format!("entries {} to {last}", damage.first_index),
            None => format!("entries from {} on", damage.first_index),
        };
        self.damage(&damage.file.clone(), damage.position, format!("{} ({range})", damage.reason));
    }

    fn damage(&mut self, path: &Path, position: u64, what: String) {
        self.tell(Severity::Damage, path, position, what);
    }

    fn note(&mut self, path: &Path, what: &str) {
        self.tell(Severity::Note, path, 0, what.to_owned());
    }

    fn tell(&mut self, severity: Severity, path: &Path, position: u64, what: String) {
        self.summary.damaged += u64::from(severity == Severity::Damage);
        (self.report)(Finding { severity, file: path.to_path_buf(), position, what });
    }
}

/// Findings of one kind that are kept for one segment; more say nothing new.
const BAD_BATCHES_MAX: usize = 100;

/// One reading of a segment's frames.
struct Pass<'a> {
    /// Points of the index still to be met.
    points: &'a [IndexPoint],
    wrong_points: usize,
    no_batch: Vec<(u64, String)>,
    entries: u64,
    records: u64,
}

impl Pass<'_> {
    fn run(&mut self, window: &mut Window<'_>, header: &SegmentHeader) -> Result<Scanned, ScanError> {
        let expected = Expected {
            index: header.first_index,
            term: header.previous.unwrap_or_default().term,
            base_offset: header.base_offset,
        };
        let mut visit = |frame: &FrameHeader, position: u64, body: &Bytes| self.visit(frame, position, body);
        scan(window, Salt::new(header.incarnation), header.first_position, expected, &mut visit)
    }

    fn visit(&mut self, frame: &FrameHeader, position: u64, body: &Bytes) {
        self.entries += 1;
        self.records += u64::from(frame.record_count);
        while let Some((point, rest)) = self.points.split_first() {
            if point.position > position {
                break;
            }
            let met = (point.position, point.index, point.base_offset)
                == (position, frame.index, frame.base_offset);
            self.wrong_points += usize::from(!met);
            self.points = rest;
        }
        if frame.kind != FrameKind::Entry(EntryKind::Batch) || self.no_batch.len() >= BAD_BATCHES_MAX {
            return;
        }
        match Batch::decode(body.clone()) {
            Ok(batch)
                if batch.base_offset() == frame.base_offset && batch.record_count() == frame.record_count => {
            }
            Ok(_) => self.no_batch.push((position, format!("entry {} and its batch disagree", frame.index))),
            Err(error) => self.no_batch.push((position, format!("entry {}: {error}", frame.index))),
        }
    }
}

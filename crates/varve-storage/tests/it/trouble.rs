//! Generated histories on a disk that fails, fills up, moves few bytes at once and rots, against a model that is a list.

use crate::harness::*;
use crate::model::{Made, Model, cases, made};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::path::PathBuf;
use varve_env::disk::{CrashMode, OpKind};
use varve_record::{Index, Offset};
use varve_storage::{
    AppendError, Entry, EntryKind, LogError, OpenError, PartitionLog, ReadError, StopReason, Storage,
};

/// More faults than a history sets.
const FAULTS_MAX: usize = 100;

/// One thing done to a log or to its disk.
#[derive(Clone, Debug)]
enum Step {
    Append {
        entries: Vec<Made>,
        run: bool,
    },
    /// Takes back all but so many of the uncommitted entries.
    Truncate(u8),
    Roll,
    /// Commits a part of what is durable, and trims to a part of that.
    Trim {
        commit: u8,
        trim: u8,
    },
    Tick,
    Close,
    Crash(CrashMode),
    /// Lets so many operations through and fails the next one.
    Fail {
        kind: OpKind,
        skip: u8,
    },
    /// Leaves so many bytes of room.
    Fill(u16),
    MakeRoom,
    ShortIo(bool),
}

/// A byte that changes while nobody looks.
#[derive(Clone, Debug)]
struct Flip {
    file: u16,
    position: u32,
    mask: u8,
    clean: bool,
}

fn mode() -> impl Strategy<Value = CrashMode> {
    prop_oneof![Just(CrashMode::SyncedOnly), Just(CrashMode::Torn), Just(CrashMode::ProcessOnly)]
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![3 => Just(OpKind::Sync), 3 => Just(OpKind::Write), 1 => Just(OpKind::Rename),
        1 => Just(OpKind::SyncDir), 1 => Just(OpKind::Open)];
    prop_oneof![
        12 => (prop::collection::vec(made(), 1..6), any::<bool>())
            .prop_map(|(entries, run)| Step::Append { entries, run }),
        2 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::Roll),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(commit, trim)| Step::Trim { commit, trim }),
        1 => Just(Step::Tick),
        1 => Just(Step::Close),
        2 => mode().prop_map(Step::Crash),
        2 => (kind, 0u8..8).prop_map(|(kind, skip)| Step::Fail { kind, skip }),
        1 => any::<u16>().prop_map(Step::Fill),
        1 => Just(Step::MakeRoom),
        1 => any::<bool>().prop_map(Step::ShortIo),
    ]
}

fn flip() -> impl Strategy<Value = Flip> {
    (any::<u16>(), any::<u32>(), 1u8.., any::<bool>()).prop_map(|(file, position, mask, clean)| Flip {
        file,
        position,
        mask,
        clean,
    })
}

struct Run {
    world: World,
    open: Option<(Storage, PartitionLog)>,
    model: Model,
    told: Vec<(usize, Told<AppendError>)>,
    /// A fault was set and may not have struck yet.
    fault: bool,
    full: bool,
    /// A truncation under way: entries from here on may be gone.
    may_lose_from: usize,
    /// Entries of which a later frame says that they are durable.
    covered: usize,
    /// What a crash after a failure leaves.
    mode: CrashMode,
}

impl Run {
    fn new(mode: CrashMode) -> Self {
        let mut world = World::new(1);
        world.config.tail_cache_bytes = 20_000;
        let open = Some(world.open_log());
        let model = Model::default();
        let (told, fault, full, may_lose_from, covered) = (Vec::new(), false, false, usize::MAX, 0);
        Self { world, open, model, told, fault, full, may_lose_from, covered, mode }
    }

    fn log(&self) -> &PartitionLog {
        &self.open.as_ref().unwrap().1
    }

    fn storage(&self) -> &Storage {
        &self.open.as_ref().unwrap().0
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append { entries, run } => self.append(entries, *run),
            Step::Truncate(keep) => self.truncate(*keep),
            Step::Roll => {
                self.make_room();
                let log = self.log().clone();
                self.tolerate(change(&self.world, |done| log.roll(done)));
            }
            Step::Trim { commit, trim } => self.trim(*commit, *trim),
            Step::Tick => self.storage().tick(),
            Step::Close => self.close(),
            Step::Crash(mode) => self.crash(*mode),
            Step::Fail { kind, skip } => {
                self.world.disk.fail_nth(*kind, (*skip).into(), ErrorKind::Other);
                self.fault = true;
            }
            Step::Fill(room) => {
                let lengths = self.world.disk.files().into_iter();
                let used: usize = lengths.map(|file| self.world.disk.contents(&file).unwrap().len()).sum();
                self.world.disk.set_capacity(Some(used as u64 + u64::from(*room)));
                self.full = true;
            }
            Step::MakeRoom => self.make_room(),
            Step::ShortIo(on) => self.world.disk.set_short_io(*on),
        }
        let defers = matches!(step, Step::Append { run: false, .. });
        if !defers {
            self.run();
        }
    }

    fn append(&mut self, made: &[Made], run: bool) {
        let (before, term) = (self.model.entries.len(), self.model.term);
        let entries: Vec<_> = made
            .iter()
            .map(|made| {
                let entry = self.model.make(made);
                self.model.entries.push(entry.clone());
                entry
            })
            .collect();
        match submit(self.log(), entries) {
            Ok(told) => {
                self.covered = self.covered.max(if run { self.model.durable } else { 0 });
                self.told.push((self.model.entries.len(), told));
            }
            Err(error) => {
                let stopped = self.failed() && matches!(error, AppendError::StorageStopped(_));
                assert!(stopped || (self.full && matches!(error, AppendError::DiskFull)), "{error}");
                self.model.entries.truncate(before);
                self.model.term = term;
            }
        }
    }

    fn truncate(&mut self, keep: u8) {
        self.make_room();
        if self.failed() {
            return;
        }
        let floor = self.model.committed.map_or(0, |index| index + 1).max(self.first());
        let keep = floor + usize::from(keep) % (self.model.entries.len() - floor + 1);
        self.may_lose_from = keep;
        match truncate(&self.world, self.log(), keep.checked_sub(1).map(|index| index as u64)) {
            Ok(()) => {
                self.settle();
                self.model.truncate(keep);
                self.covered = self.covered.min(keep);
                self.may_lose_from = usize::MAX;
            }
            error => self.tolerate(error),
        }
    }

    fn trim(&mut self, commit: u8, trim: u8) {
        self.run();
        if self.model.durable == 0 || self.failed() {
            return;
        }
        let committed = usize::from(commit) % self.model.durable;
        let committed = self.model.committed.map_or(committed, |before| before.max(committed));
        self.model.committed = Some(committed);
        self.log().set_committed(Index::new(committed as u64));
        let end = self.model.entries[committed].next_offset().get();
        self.model.log_start = self.model.log_start.max(u64::from(trim) % (end + 1));
        self.log().trim(Offset::new(self.model.log_start));
    }

    fn close(&mut self) {
        self.make_room();
        let (storage, log) = self.open.take().unwrap();
        let closed = storage.close();
        drop((storage, log));
        self.world.run();
        self.settle();
        assert!(closed.is_ok() || self.fault, "{closed:?}");
        self.told.clear();
        self.reopen();
    }

    fn crash(&mut self, mode: CrashMode) {
        let (storage, log) = self.open.take().unwrap();
        self.settle();
        self.told.clear();
        self.world.crash(mode, Some(storage), Some(log));
        self.fault = false;
        self.reopen();
    }

    /// What waited for room is written, or a failure has struck meanwhile.
    fn make_room(&mut self) {
        self.world.disk.set_capacity(None);
        for _ in 0..2 {
            self.storage().tick();
            self.world.run();
        }
        self.settle();
        self.full = false;
        assert!(self.told.is_empty(), "an append is not answered");
        if self.failed() {
            self.recover();
        }
    }

    fn run(&mut self) {
        self.world.run();
        self.settle();
        if self.failed() {
            self.recover();
        } else {
            assert!(self.full || self.told.is_empty(), "an append is not answered");
        }
    }

    /// After a failure nothing is acknowledged any more, and nothing that was is lost.
    fn recover(&mut self) {
        assert!(self.fault, "{:?}", self.storage().stopped());
        assert!(self.told.is_empty(), "an append is not answered");
        self.crash(self.mode);
    }

    fn failed(&self) -> bool {
        matches!(self.storage().stopped(), Some(StopReason::Failed(_)))
    }

    fn tolerate(&self, result: Result<(), LogError>) {
        assert!(result.is_ok() || self.fault, "{result:?}");
    }

    /// Takes note of what was acknowledged.
    fn settle(&mut self) {
        let (model, fault, full) = (&mut self.model, self.fault, self.full);
        let mut refused = false;
        self.told.retain(|(end, told)| match take(told) {
            Some(Ok(())) => {
                assert!(!refused, "an append is acknowledged after one that failed");
                model.durable = model.durable.max(*end);
                false
            }
            Some(Err(error)) => {
                assert!(fault || full, "{error}");
                refused = true;
                false
            }
            None => true,
        });
    }

    fn try_open(&self) -> Result<(Storage, PartitionLog), OpenError> {
        let storage = self.world.try_open()?;
        let log = storage.open_partition(PARTITION, self.world.config.clone())?;
        Ok((storage, log))
    }

    fn reopen(&mut self) {
        self.open = Some(match self.try_open() {
            Ok(open) => open,
            Err(error) => {
                assert!(self.fault || self.full, "{error}");
                self.world.run();
                self.world.disk.heal();
                self.world.disk.set_capacity(None);
                (self.fault, self.full) = (false, false);
                self.try_open().unwrap()
            }
        });
        assert_eq!(self.log().damage(), None);
        let found = self.log().last_log_id().map_or(0, |last| last.index.get() as usize + 1);
        let least = self.model.durable.min(self.may_lose_from);
        assert!(found >= least, "{found} entries of {least} durable ones");
        assert!(found <= self.model.entries.len());
        self.model.truncate(found);
        self.model.durable = found;
        self.covered = self.covered.min(found);
        self.may_lose_from = usize::MAX;
        self.log().trim(Offset::new(self.model.log_start));
        if let Some(committed) = self.model.committed {
            self.log().set_committed(Index::new(committed as u64));
        }
    }

    fn first(&self) -> usize {
        self.log().first_index().get() as usize
    }

    /// What is acknowledged can be read, byte by byte.
    fn check(&self) {
        let first = self.first();
        let entries = all_served(self.log());
        assert!(entries.len() + first >= self.model.durable);
        assert_eq!(entries, self.model.entries[first..first + entries.len()]);
    }

    /// Stops, flips a byte, starts: no wrong byte is served; what is missing is named, unless nothing said it was durable.
    fn rot(mut self, flip: &Flip) {
        self.make_room();
        self.world.disk.heal();
        if flip.clean {
            self.close();
        }
        let (storage, log) = self.open.take().unwrap();
        let first = log.first_index().get() as usize;
        self.world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
        let Some(path) = self.flipped(flip) else { return };
        let (_storage, log) = match self.try_open() {
            Ok(open) => open,
            Err(OpenError::Untrusted { .. } | OpenError::Newer { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        for (index, expected) in self.model.entries.iter().enumerate().skip(first) {
            let at = Index::new(index as u64);
            let read = log.entries(at, at.next(), 1).unwrap_or_default();
            match read.first() {
                Some(found) => assert_eq!(found, expected, "{} is flipped", path.display()),
                None => assert!(log.damage().is_some() || index >= self.covered, "{index} is not named"),
            }
            if expected.kind == EntryKind::Batch {
                for stored in log.read(expected.base_offset, Offset::MAX, 1).unwrap_or_default() {
                    let origin = &self.model.entries[stored.log_id.index.get() as usize];
                    assert_eq!(stored.batch.as_bytes(), &origin.body, "{} is flipped", path.display());
                }
            }
        }
        let end = self.model.next_offset();
        assert!(log.next_offset().get() <= end);
    }

    /// Flips a byte of one of the files; `None` where that one is empty.
    fn flipped(&self, flip: &Flip) -> Option<PathBuf> {
        let files = self.world.disk.files();
        let path = files[usize::from(flip.file) % files.len()].clone();
        let len = self.world.disk.contents(&path).unwrap().len() as u64;
        self.world.disk.flip(&path, u64::from(flip.position).checked_rem(len)?, flip.mask).unwrap();
        Some(path)
    }
}

/// All that is served. A fault may strike a read instead of a write: what cannot be opened now can be opened the next time.
fn all_served(log: &PartitionLog) -> Vec<Entry> {
    let (mut entries, mut next, mut faults) = (Vec::new(), log.first_index(), 0);
    loop {
        match log.entries(next, Index::new(u64::MAX), 4096) {
            Ok(some) => {
                let Some(last) = some.last() else { return entries };
                next = last.log_id.index.next();
                entries.extend(some);
            }
            Err(ReadError::Io(_)) if faults < FAULTS_MAX => faults += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn no_trouble_takes_what_was_acknowledged(
        mode in mode(),
        steps in prop::collection::vec(step(), 1..60),
        flip in flip(),
    ) {
        let mut run = Run::new(mode);
        for (number, step) in steps.iter().enumerate() {
            run.take(step);
            run.world.reseed(number as u64 + 2);
            run.check();
        }
        run.rot(&flip);
    }
}

//! A disk in memory that keeps only what was synced, and fails on demand.
//!
//! The model: a write is in the cache until its file is synced; a name is in the cache until a directory that its change
//! touched is synced, which commits all earlier changes of names too (as journaling file systems do). A crash drops the
//! caches ([`CrashMode::SyncedOnly`]) or lets an arbitrary part of them through ([`CrashMode::Torn`]): any subset of the
//! unsynced 512-byte sectors of each file, and any prefix of the unsynced changes of names. A sync that fails drops what it
//! was to make durable for good, although it can still be read, and the next sync reports success: what Linux does.

mod file;
mod names;

use super::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, OpenMode};
use crate::SeededEntropy;
use file::{Handle, Inode};
use names::{Change, Names, Node};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The size of a disk that has no capacity set.
const LARGE_BYTES: u64 = 1 << 50;

/// What is left after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// Nothing that was not synced.
    SyncedOnly,
    /// What was synced, an arbitrary subset of the unsynced sectors, and an arbitrary prefix of the unsynced changes of names.
    Torn,
    /// Everything: the process was killed, the machine went on.
    ProcessOnly,
}

/// A kind of operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// [`Disk::open`].
    Open,
    /// [`DiskFile::read_at`].
    Read,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::sync_data`].
    Sync,
    /// [`DiskFile::set_len`].
    SetLen,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove_file`] and [`Disk::remove_dir_all`].
    Remove,
    /// [`Disk::create_dir_all`].
    CreateDir,
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`Disk::list`].
    List,
}

impl OpKind {
    /// Whether a crash right before or after it can leave another disk behind.
    #[must_use]
    pub fn changes_disk(self) -> bool {
        !matches!(self, Self::Read | Self::List)
    }
}

/// One operation that was made, for tests that ask what was done and in what order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its kind.
    pub kind: OpKind,
    /// The path it was made on; of an open file, the path it was opened under.
    pub path: PathBuf,
}

/// The disk in memory. A clone is another handle on the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    shared: Arc<Shared>,
    /// Crashes that had happened when this handle was made: one from before a crash only fails.
    generation: u64,
}

#[derive(Debug)]
struct Shared {
    entropy: SeededEntropy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Fault {
    kind: OpKind,
    /// Operations of the kind to let through before.
    skip: u64,
    /// Whether it goes on failing.
    sticky: bool,
    error: io::ErrorKind,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    names: Names,
    locks: BTreeSet<PathBuf>,
    capacity_bytes: Option<u64>,
    /// Whether the capacity is a matter of what others have filled the disk with, and says nothing of its size.
    is_large: bool,
    short_io: bool,
    faults: Vec<Fault>,
    /// Operations that change the disk still let through before the power goes.
    halt_after: Option<u64>,
    changes: u64,
    journal: Option<Vec<Op>>,
}

impl FaultyDisk {
    /// An empty disk; the seed decides what a torn crash lets through and how short a short write is.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let shared = Shared { entropy: SeededEntropy::new(seed), state: Mutex::default() };
        Self { shared: Arc::new(shared), generation: 0 }
    }

    /// Crashes: every handle from before fails from now on, locks are gone, and the caches are lost as `mode` says. The
    /// disk that this returns is the one after the restart; faults that were set are forgotten.
    #[must_use]
    pub fn crash(&self, mode: CrashMode) -> Self {
        let mut state = self.shared.lock();
        state.generation += 1;
        state.locks.clear();
        state.faults.clear();
        state.halt_after = None;
        state.names.crash(mode, &self.shared.entropy);
        Self { shared: Arc::clone(&self.shared), generation: state.generation }
    }

    /// Lets `n` operations of a kind through and fails the next one.
    pub fn fail_nth(&self, kind: OpKind, n: u64, error: io::ErrorKind) {
        self.shared.lock().faults.push(Fault { kind, skip: n, sticky: false, error });
    }

    /// Lets `n` operations of a kind through and fails all that follow, until [`FaultyDisk::heal`].
    pub fn fail_from(&self, kind: OpKind, n: u64, error: io::ErrorKind) {
        self.shared.lock().faults.push(Fault { kind, skip: n, sticky: true, error });
    }

    /// Forgets the faults that were set.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.faults.clear();
        state.halt_after = None;
    }

    /// Cuts the power after `n` more operations that change the disk: all later ones fail, until [`FaultyDisk::crash`].
    pub fn halt_after(&self, n: u64) {
        self.shared.lock().halt_after = Some(n);
    }

    /// Makes reads and writes move fewer bytes than asked, at random.
    pub fn set_short_io(&self, on: bool) {
        self.shared.lock().short_io = on;
    }

    /// Bounds the sum of all files' lengths; over it writes fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        let mut state = self.shared.lock();
        state.capacity_bytes = bytes;
        state.is_large = false;
    }

    /// Leaves room for so many bytes more, on a disk that calls itself as large as ever; `None` lifts the bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        let mut state = self.shared.lock();
        state.capacity_bytes = bytes.map(|room| state.names.used_bytes().saturating_add(room));
        state.is_large = bytes.is_some();
    }

    /// Flips the bits of `mask` in one byte, in cache and on the medium: damage at rest.
    ///
    /// # Errors
    /// `NotFound` where there is no such file, `UnexpectedEof` where it is shorter.
    pub fn flip(&self, path: &Path, position: u64, mask: u8) -> io::Result<()> {
        self.shared.lock().names.file(path)?.flip(position, mask)
    }

    /// A file's bytes as a reader sees them.
    ///
    /// # Errors
    /// `NotFound` where there is no such file.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.shared.lock().names.file(path)?.contents())
    }

    /// Every file's path, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.shared.lock().names.files()
    }

    /// Operations so far that changed the disk.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.lock().changes
    }

    /// Begins to remember operations, and gives those remembered since the last call.
    #[must_use]
    pub fn take_journal(&self) -> Vec<Op> {
        self.shared.lock().journal.replace(Vec::new()).unwrap_or_default()
    }

    /// A copy of the disk as it is, cache and medium, with no faults set and no locks held.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let state = self.shared.lock();
        let copy =
            State { names: state.names.fork(), capacity_bytes: state.capacity_bytes, ..State::default() };
        let shared = Shared { entropy: SeededEntropy::new(seed), state: Mutex::new(copy) };
        Self { shared: Arc::new(shared), generation: 0 }
    }

    fn begin(&self, kind: OpKind, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        self.shared.begin(self.generation, kind, path)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation and decides whether it fails.
    fn begin(&self, generation: u64, kind: OpKind, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.generation != generation {
            return Err(io::Error::other("the disk crashed since this handle was opened"));
        }
        if let Some(journal) = &mut state.journal {
            journal.push(Op { kind, path: path.to_owned() });
        }
        if kind.changes_disk() {
            state.spend_power()?;
            state.changes += 1;
        }
        state.spend_fault(kind)?;
        Ok(state)
    }
}

impl State {
    fn spend_power(&mut self) -> io::Result<()> {
        match &mut self.halt_after {
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn spend_fault(&mut self, kind: OpKind) -> io::Result<()> {
        let mut hit = None;
        for (at, fault) in self.faults.iter_mut().enumerate().filter(|(_, fault)| fault.kind == kind) {
            if fault.skip == 0 {
                hit = hit.or(Some(at));
            } else {
                fault.skip -= 1;
            }
        }
        let Some(at) = hit else { return Ok(()) };
        let error = self.faults[at].error;
        if !self.faults[at].sticky {
            self.faults.remove(at);
        }
        Err(error.into())
    }

    fn power_is_cut(&self) -> bool {
        self.halt_after == Some(0)
    }

    fn room_for(&self, more_bytes: u64) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if self.names.used_bytes().saturating_add(more_bytes) > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct FaultyLock {
    shared: Arc<Shared>,
    generation: u64,
    path: PathBuf,
}

impl DiskLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.generation == self.generation {
            state.locks.remove(&self.path);
        }
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.begin(OpKind::Open, path)?;
        let inode = match mode {
            OpenMode::Read | OpenMode::Write => state.names.file(path)?,
            OpenMode::CreateNew => {
                let inode = Arc::new(Inode::default());
                state.names.create(path, Node::File(Arc::clone(&inode)))?;
                inode
            }
        };
        let shared = Arc::clone(&self.shared);
        let (generation, writable) = (self.generation, mode != OpenMode::Read);
        Ok(Arc::new(Handle { shared, generation, path: path.to_owned(), inode, writable }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.begin(OpKind::CreateDir, path)?.names.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.begin(OpKind::List, path)?.names.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(OpKind::Rename, from)?.names.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(OpKind::Remove, path)?;
        state.names.file(path)?;
        state.names.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(OpKind::Remove, path)?;
        state.names.dir(path)?;
        state.names.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.begin(OpKind::SyncDir, path)?.names.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.begin(OpKind::Open, path)?;
        if state.names.file(path).is_err() {
            state.names.create(path, Node::File(Arc::default()))?;
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(FaultyLock { shared, generation: self.generation, path: path.to_owned() }))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        let state = self.shared.lock();
        let capacity_bytes = state.capacity_bytes.unwrap_or(LARGE_BYTES);
        let total_bytes = if state.is_large { LARGE_BYTES } else { capacity_bytes };
        let available_bytes = capacity_bytes.saturating_sub(state.names.used_bytes());
        Ok(DiskSpace { available_bytes, total_bytes })
    }
}

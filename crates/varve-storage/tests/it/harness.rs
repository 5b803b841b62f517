//! A storage on a disk in memory, with its writers as tasks that run when the test says so.

use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::{Blocking, Env, SeededEntropy, TaskSpawn};
use varve_record::{Batch, BatchBuilder, Compression, Index, NodeId, Offset, PartitionId, Term, Timestamp};
use varve_storage::{
    AppendError, Entry, LogError, LogId, OpenError, PartitionConfig, PartitionLog, Storage, StorageConfig,
    Vote,
};

/// Where the storage of a test lies.
pub(crate) const DIR: &str = "data";
/// The partition that tests use.
pub(crate) const PARTITION: PartitionId = PartitionId::new(1);

/// What a callback was told; empty until it is called.
pub(crate) type Told<E> = Arc<Mutex<Option<Result<(), E>>>>;

/// A disk, a runtime for the writers, and whatever storage is open on it.
pub(crate) struct World {
    pub(crate) disk: FaultyDisk,
    runtime: Runtime,
    seed: u64,
    pub(crate) config: PartitionConfig,
    pub(crate) storage_config: StorageConfig,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let config = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
        let storage_config =
            StorageConfig { writers: 1, pool_bytes_max: 256 * 1024, ..StorageConfig::default() };
        Self { disk: FaultyDisk::new(seed), runtime, seed, config, storage_config }
    }

    /// Another world with the same files.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(self.seed);
        let (config, storage_config) = (self.config.clone(), self.storage_config.clone());
        Self { disk: self.disk.fork(self.seed), config, storage_config, ..copy }
    }

    pub(crate) fn env(&self) -> Env {
        Env {
            disk: Arc::new(self.disk.clone()),
            spawn: Arc::new(TaskSpawn),
            entropy: Arc::new(SeededEntropy::new(self.seed)),
            blocking: Blocking::Inline,
            ..Env::real()
        }
    }

    pub(crate) fn try_open(&self) -> Result<Storage, OpenError> {
        let _context = self.runtime.enter();
        Storage::open(&self.env(), Path::new(DIR), self.storage_config.clone())
    }

    pub(crate) fn open(&self) -> Storage {
        self.try_open().unwrap()
    }

    /// Opens the storage and the partition, which is made if it does not exist.
    pub(crate) fn open_log(&self) -> (Storage, PartitionLog) {
        let storage = self.open();
        let log = match storage.open_partition(PARTITION, self.config.clone()) {
            Err(OpenError::NoSuchPartition { .. }) => {
                storage.create_partition(PARTITION, self.config.clone()).unwrap()
            }
            result => result.unwrap(),
        };
        (storage, log)
    }

    /// Lets the writers do all that is queued.
    pub(crate) fn run(&self) {
        self.runtime.block_on(async {
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// A clean stop.
    pub(crate) fn close(&self, storage: Storage, log: PartitionLog) {
        storage.close().unwrap();
        drop((storage, log));
        self.run();
    }

    /// Drops everything as a crash does, and puts the disk after it in place.
    pub(crate) fn crash(&mut self, mode: CrashMode, storage: Option<Storage>, log: Option<PartitionLog>) {
        self.disk = self.disk.crash(mode);
        drop((storage, log));
        self.run();
    }

    /// The seed of what the next start draws at random.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// The files of the partition with this ending.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let dir = Path::new(DIR).join("partitions");
        let ours = |path: &PathBuf| path.starts_with(&dir) && path.to_string_lossy().ends_with(ending);
        self.disk.files().into_iter().filter(ours).collect()
    }
}

/// Appends and lets the writer run; the append must succeed.
pub(crate) fn append(world: &World, log: &PartitionLog, entries: Vec<Entry>) {
    let told = submit(log, entries).unwrap();
    world.run();
    assert!(matches!(take(&told), Some(Ok(()))), "an append was not acknowledged");
}

/// Appends without letting the writer run.
pub(crate) fn submit(log: &PartitionLog, entries: Vec<Entry>) -> Result<Told<AppendError>, AppendError> {
    let told: Told<AppendError> = Arc::default();
    let answer = Arc::clone(&told);
    log.append(entries, Box::new(move |result| *answer.lock().unwrap() = Some(result)))?;
    Ok(told)
}

/// What a callback was told, if it was called.
pub(crate) fn take<E>(told: &Told<E>) -> Option<Result<(), E>> {
    told.lock().unwrap().take()
}

/// Makes a change of the log and gives its answer.
pub(crate) fn change(
    world: &World,
    make: impl FnOnce(Box<dyn FnOnce(Result<(), LogError>) + Send>),
) -> Result<(), LogError> {
    let told: Told<LogError> = Arc::default();
    let answer = Arc::clone(&told);
    make(Box::new(move |result| *answer.lock().unwrap() = Some(result)));
    world.run();
    take(&told).expect("a change of the log is answered")
}

pub(crate) fn truncate(world: &World, log: &PartitionLog, last_kept: Option<u64>) -> Result<(), LogError> {
    change(world, |done| log.truncate_after(last_kept.map(Index::new), done))
}

pub(crate) fn roll(world: &World, log: &PartitionLog) {
    change(world, |done| log.roll(done)).unwrap();
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term::new(term), Index::new(index))
}

/// A batch of records whose values say which entry they belong to.
pub(crate) fn batch(index: u64, records: u32, value_bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in 0..records {
        let mut value = format!("entry {index} record {record} ").into_bytes();
        value.resize(value.len().max(value_bytes), b'.');
        builder.push(Timestamp::new(index as i64), None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// An entry with a batch; its append time is ten times its index.
pub(crate) fn entry(index: u64, records: u32) -> Entry {
    sized(index, records, 0)
}

pub(crate) fn sized(index: u64, records: u32, value_bytes: usize) -> Entry {
    Entry::batch(id(1, index), time(index), batch(index, records, value_bytes))
}

pub(crate) fn blank(index: u64) -> Entry {
    Entry::blank(id(1, index), time(index))
}

pub(crate) fn command(term: u64, index: u64, body: &[u8]) -> Entry {
    Entry::command(id(term, index), time(index), Bytes::copy_from_slice(body))
}

pub(crate) fn time(index: u64) -> Timestamp {
    Timestamp::new(index as i64 * 10)
}

/// All entries of a log, read a few at a time.
pub(crate) fn all_entries(log: &PartitionLog) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = log.first_index();
    loop {
        let some = log.entries(next, Index::new(u64::MAX), 4096).unwrap();
        let Some(last) = some.last() else { return entries };
        next = last.log_id.index.next();
        entries.extend(some);
    }
}

/// The base offsets and counts of all batches of a log, read a few at a time by offset.
pub(crate) fn all_batches(log: &PartitionLog) -> Vec<(u64, u32)> {
    let mut batches = Vec::new();
    let mut next = log.log_start_offset();
    loop {
        let some = log.read(next, Offset::MAX, 4096).unwrap();
        let Some(last) = some.last() else { return batches };
        next = last.batch.last_offset().next();
        batches.extend(
            some.iter().map(|stored| (stored.batch.base_offset().get(), stored.batch.record_count())),
        );
    }
}

pub(crate) fn vote(term: u64, node: u64) -> Vote {
    Vote { term: Term::new(term), voted_for: Some(NodeId::new(node)), committed: false }
}

//! A data directory.

use crate::atomic_file::{AtomicError, AtomicKind, TEMPORARY_SUFFIX, read_atomic, sync_parent, write_atomic};
use crate::departure;
use crate::log::{LogInner, Op, create_first_segment, recover};
use crate::open_logs::{OpenLogs, Reserved};
use crate::pool::Pool;
use crate::segment::SegmentName;
use crate::shared::Shared;
use crate::writer_queue::WriterQueue;
use crate::{
    FileError, OpenError, PartitionConfig, PartitionLog, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, StopReason,
    StorageConfig, VoteStore, WRITERS_MAX,
};
use bytes::Bytes;
use futures::FutureExt;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use varve_env::disk::{DiskLock, DiskSpace};
use varve_env::{Env, WorkerHandle};
use varve_record::PartitionId;

pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const NODE_FILE: &str = "node";
pub(crate) const VOTES_FILE: &str = "votes";
const POOL_DIR: &str = "pool";
pub(crate) const PARTITIONS_DIR: &str = "partitions";
/// A partition's directory while it is made, and while it is removed.
const NEW_SUFFIX: &str = ".new";
const REMOVED_SUFFIX: &str = ".removed";
/// The most producers that a partition may be set to remember: its checkpoint is one frame.
const PRODUCERS_MAX: usize = 65_536;
/// Most directories of one partition that are kept set aside. Only a partition that others have is set aside, so that an older one is
/// worth its room for whoever asks why, and for nothing else.
pub const QUARANTINED_MAX: usize = 3;

/// A data directory, locked for as long as any clone of this lives. Cheap to clone. When the last clone is dropped, what is
/// queued is still written, but [`Storage::close`] is what makes the next start fast.
#[derive(Clone, Debug)]
pub struct Storage(Arc<Owner>);

/// How much waits for a data directory's disk.
#[derive(Clone)]
pub struct WriteGauge(Vec<Weak<WriterQueue>>);

impl WriteGauge {
    /// Operations that wait; none of a directory that is closed.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.iter().filter_map(Weak::upgrade).map(|queue| queue.len()).sum()
    }
}

impl fmt::Debug for WriteGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGauge").field("queued", &self.queued()).finish()
    }
}

struct Owner {
    shared: Arc<Shared>,
    node: Mutex<Option<Bytes>>,
    votes: VoteStore,
    queues: Vec<Arc<WriterQueue>>,
    logs: OpenLogs,
    workers: Mutex<Vec<WorkerHandle>>,
}

impl Storage {
    /// Opens a data directory, or makes one. Blocks.
    ///
    /// # Errors
    /// Where another process has it, a file that decides is damaged, or the system refuses.
    pub fn open(env: &Env, dir: &Path, config: StorageConfig) -> Result<Self, OpenError> {
        check("writers", config.writers as u64, 1, WRITERS_MAX as u64, "1 to 64")?;
        make_dir(env, dir)?;
        let lock_path = dir.join(LOCK_FILE);
        let lock = env.disk.try_lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_path_buf() },
            _ => FileError::new("lock", &lock_path, error).into(),
        })?;
        let lock: Arc<dyn DiskLock> = lock.into();
        let is_new = !exists(env, &dir.join(PARTITIONS_DIR))?;
        remove_temporaries(env, dir)?;
        for name in [POOL_DIR].iter().chain((!is_new).then_some(&PARTITIONS_DIR)) {
            let path = dir.join(name);
            env.disk.create_dir_all(&path).map_err(|e| FileError::new("create", &path, e))?;
        }
        let pool = Pool::open(Arc::clone(&env.disk), dir.join(POOL_DIR), config.pool_bytes_max);
        let pool = pool.map_err(|e| FileError::new("list", &dir.join(POOL_DIR), e))?;
        let writers = config.writers;
        let shared = Shared::new(
            Arc::clone(&env.disk),
            Arc::clone(&env.entropy),
            dir.to_path_buf(),
            config,
            pool,
            &env.telemetry,
        );
        let shared = Arc::new(shared);
        let votes = open_votes(env, dir, &shared, is_new)?;
        let node = read_node(env, dir)?;
        clear_partitions(env, dir, &votes)?;
        shared.sample_space();
        let queues: Vec<_> = (0..writers).map(|_| Arc::new(WriterQueue::new(Arc::clone(&shared)))).collect();
        let workers = start_workers(env, &lock, &queues, &votes)?;
        Ok(Self(Arc::new(Owner {
            shared,
            node: Mutex::new(node),
            votes,
            queues,
            logs: OpenLogs::default(),
            workers: Mutex::new(workers),
        })))
    }

    /// Tells how much waits for the disk, and holds nothing open.
    #[must_use]
    pub fn gauge(&self) -> WriteGauge {
        WriteGauge(self.0.queues.iter().map(Arc::downgrade).collect())
    }

    /// The size of the disk that the directory is on, and the room on it. Blocks.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn space(&self) -> io::Result<DiskSpace> {
        self.0.shared.disk.space(&self.0.shared.dir)
    }

    /// The node's identity, as given to [`Storage::set_node_file`]; `None` before the first.
    #[must_use]
    pub fn node_file(&self) -> Option<Bytes> {
        lock(&self.0.node).clone()
    }

    /// Makes the node's identity durable. Blocks.
    ///
    /// # Errors
    /// Where the system refuses; the old identity then stands.
    pub fn set_node_file(&self, identity: Bytes) -> Result<(), OpenError> {
        self.check_open()?;
        let path = self.0.shared.dir.join(NODE_FILE);
        write_atomic(&*self.0.shared.disk, &path, AtomicKind::Node, &identity)?;
        *lock(&self.0.node) = Some(identity);
        Ok(())
    }

    /// The partitions in the directory, open or not. Blocks.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn partition_ids(&self) -> Result<Vec<PartitionId>, OpenError> {
        let dir = self.0.shared.dir.join(PARTITIONS_DIR);
        let entries = self.0.shared.disk.list(&dir).map_err(|e| FileError::new("list", &dir, e))?;
        let ids =
            entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| parse_partition(&entry.name));
        Ok(ids.collect())
    }

    /// Makes an empty partition, durably, and opens it. Blocks.
    ///
    /// # Errors
    /// Where it exists, a setting is out of range, or the system refuses.
    pub fn create_partition(
        &self,
        id: PartitionId,
        config: PartitionConfig,
    ) -> Result<PartitionLog, OpenError> {
        self.check_open()?;
        check_partition(&config)?;
        let shared = &self.0.shared;
        let dir = self.partition_dir(id);
        let reserved = self.0.logs.reserve(id);
        if shared.disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))? {
            return Err(OpenError::PartitionExists { id });
        }
        let unfinished = with_suffix(&dir, NEW_SUFFIX);
        let failed = |action, error| FileError::new(action, &unfinished, error);
        if shared.disk.exists(&unfinished).map_err(|e| failed("look for", e))? {
            shared.disk.remove_dir_all(&unfinished).map_err(|e| failed("remove", e))?;
        }
        shared.disk.create_dir_all(&unfinished).map_err(|e| failed("create", e))?;
        create_first_segment(shared, &unfinished, id, &config)?;
        shared.disk.rename(&unfinished, &dir).map_err(|e| failed("rename", e))?;
        sync_parent(&*shared.disk, &dir)?;
        self.recover_partition(reserved, config)
    }

    /// Opens a partition and recovers its log. Blocks. One that is damaged opens too: see [`PartitionLog::damage`].
    ///
    /// # Errors
    /// Where it does not exist, is open already, was written by a newer version, or the system refuses.
    pub fn open_partition(
        &self,
        id: PartitionId,
        config: PartitionConfig,
    ) -> Result<PartitionLog, OpenError> {
        self.check_open()?;
        check_partition(&config)?;
        self.recover_partition(self.0.logs.reserve(id), config)
    }

    /// Removes a partition, durably; handles to it are stopped. Its files go to the pool. Its vote stays, so that it may be made
    /// here again: see [`Storage::has_left`]. Blocks.
    ///
    /// # Errors
    /// Where it does not exist or the system refuses.
    pub fn remove_partition(&self, id: PartitionId) -> Result<(), OpenError> {
        self.check_open()?;
        self.remove(&self.0.logs.reserve(id), true)
    }

    /// Removes a partition that will never exist again, and its vote, durably; handles to it are stopped. Where it is not here
    /// any more what is left of it goes. Blocks.
    ///
    /// # Errors
    /// Where the system refuses. To try again goes on.
    pub fn delete_partition(&self, id: PartitionId) -> Result<(), OpenError> {
        self.check_open()?;
        let reserved = self.0.logs.reserve(id);
        match self.remove(&reserved, false) {
            Ok(()) | Err(OpenError::NoSuchPartition { .. }) => {}
            Err(error) => return Err(error),
        }
        self.forget_vote(id)?;
        departure::forget(&*self.0.shared.disk, &self.partition_dir(id))?;
        Ok(())
    }

    /// Moves a partition's directory aside, durably, and nothing of it is deleted; handles to it are stopped. Its vote stays, so
    /// that it may be made here again: see [`Storage::has_left`]. Gives where its files lie now: they are the operator's. Of
    /// those that were set aside before, the newest stay, [`QUARANTINED_MAX`] with this one. Blocks.
    ///
    /// # Errors
    /// Where it does not exist or the system refuses.
    pub fn quarantine_partition(&self, id: PartitionId) -> Result<PathBuf, OpenError> {
        self.check_open()?;
        let (disk, dir) = (&*self.0.shared.disk, self.partition_dir(id));
        let reserved = self.0.logs.reserve(id);
        if !disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))? {
            return Err(OpenError::NoSuchPartition { id });
        }
        self.withdraw(&reserved);
        departure::note(disk, &dir)?;
        let before = departure::quarantines(disk, &dir)?;
        let number = before.last().map_or(1, |last| last.saturating_add(1));
        let aside = departure::quarantine_path(&dir, number);
        disk.rename(&dir, &aside).map_err(|e| FileError::new("rename", &dir, e))?;
        sync_parent(disk, &dir)?;
        self.0.shared.forget(id);
        let kept_from = (before.len() + 1).saturating_sub(QUARANTINED_MAX);
        for number in &before[..kept_from] {
            let oldest = departure::quarantine_path(&dir, *number);
            match disk.remove_dir_all(&oldest) {
                Ok(()) => {
                    tracing::warn!(partition = %id, dir = %oldest.display(), "too much of this partition was set aside: the oldest is removed")
                }
                // It takes room, and no more than that: what was to be done is done.
                Err(error) => {
                    tracing::warn!(partition = %id, dir = %oldest.display(), %error, "the oldest directory that was set aside cannot be removed")
                }
            }
        }
        Ok(aside)
    }

    /// Notes of a partition that is not here, and has a vote, that it counts as given up from now on: it was lost, and may be made
    /// here again as one that comes back, see [`Storage::has_left`]. Blocks.
    ///
    /// # Errors
    /// Where it is here, or the system refuses.
    pub fn give_up_lost(&self, id: PartitionId) -> Result<(), OpenError> {
        self.check_open()?;
        let (disk, dir) = (&*self.0.shared.disk, self.partition_dir(id));
        let _reserved = self.0.logs.reserve(id);
        if disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))? {
            return Err(OpenError::PartitionExists { id });
        }
        Ok(departure::note(disk, &dir)?)
    }

    /// How often a partition was quarantined here, as far as what was moved aside still lies there. Blocks.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn quarantined_count(&self, id: PartitionId) -> Result<usize, OpenError> {
        let dir = self.0.shared.dir.join(PARTITIONS_DIR);
        let entries = self.0.shared.disk.list(&dir).map_err(|e| FileError::new("list", &dir, e))?;
        let of_it = entries.iter().filter(|entry| departure::quarantined_id(&entry.name) == Some(id));
        Ok(of_it.count())
    }

    /// Whether a partition is not here because it was removed or quarantined, and its vote still is. One that is not here and has
    /// a vote was lost otherwise. Blocks.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn has_left(&self, id: PartitionId) -> Result<bool, OpenError> {
        let (disk, dir) = (&*self.0.shared.disk, self.partition_dir(id));
        let is_here = disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))?;
        Ok(!is_here && departure::is_noted(disk, &dir)?)
    }

    /// Whether a partition that was removed or quarantined here is here again, and not yet known to have all that it had: see
    /// [`Storage::has_returned`]. Blocks.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn is_returning(&self, id: PartitionId) -> Result<bool, OpenError> {
        let (disk, dir) = (&*self.0.shared.disk, self.partition_dir(id));
        let is_here = disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))?;
        Ok(is_here && departure::is_noted(disk, &dir)?)
    }

    /// A partition that came back has all that it had, durably. If it is lost from now on, that is not because it was given up.
    /// Blocks.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn has_returned(&self, id: PartitionId) -> Result<(), OpenError> {
        Ok(departure::forget(&*self.0.shared.disk, &self.partition_dir(id))?)
    }

    /// The durable votes of all groups.
    #[must_use]
    pub fn votes(&self) -> &VoteStore {
        &self.0.votes
    }

    /// Does what time asks for: idle markers, cache shrinking, a look at the free space, another try for a full disk. Call it
    /// about every 250 ms. It waits for nothing: what touches the disk is left to the writers.
    pub fn tick(&self) {
        if let Some(waker) = self.0.queues.first().and_then(|queue| queue.ask_for_space()) {
            waker.wake();
        }
        for log in self.0.logs.all() {
            log.tick();
        }
    }

    /// Why this storage takes no more writes; `None` while it does.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        self.0.shared.stopped()
    }

    /// Calls `hook` once, when a write or a sync has failed and a log has stopped (at once if that was so already). The owner
    /// should end the process: only a new start finds out what the disk holds. The hook is called on a writer's thread and
    /// must not wait for this storage.
    pub fn on_stopped(&self, hook: Box<dyn FnOnce(StopReason) + Send>) {
        self.0.shared.on_stopped(hook);
    }

    /// A clean stop: writes and syncs all that is queued, and leaves what makes the next start fast. Every handle is stopped
    /// afterwards. Blocks; not to be called from a callback of this storage.
    ///
    /// # Errors
    /// Where something could not be written; the next start then recovers as after a crash.
    pub fn close(&self) -> Result<(), OpenError> {
        let logs = self.0.logs.all();
        for log in &logs {
            log.stop(StopReason::Closed);
            log.enqueue([Op::Close]);
        }
        self.0.queues.iter().for_each(|queue| queue.run_all());
        self.0.votes.close();
        self.0.votes.write_all();
        let failed = self.stopped();
        self.0.shared.set_closed();
        let error = logs.iter().find_map(|log| log.take_close_error());
        match (error, failed) {
            (Some(error), _) => Err(OpenError::File(error)),
            (None, Some(reason @ StopReason::Failed(_))) => Err(OpenError::Stopped(reason)),
            (None, _) => Ok(()),
        }
    }

    fn remove(&self, reserved: &Reserved<'_>, noted: bool) -> Result<(), OpenError> {
        let (shared, id) = (&self.0.shared, reserved.id());
        let dir = self.partition_dir(id);
        if !shared.disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))? {
            return Err(OpenError::NoSuchPartition { id });
        }
        let in_use = self.withdraw(reserved);
        if noted {
            departure::note(&*shared.disk, &dir)?;
        }
        let removed = with_suffix(&dir, REMOVED_SUFFIX);
        shared.disk.rename(&dir, &removed).map_err(|e| FileError::new("rename", &dir, e))?;
        sync_parent(&*shared.disk, &dir)?;
        shared.forget(id);
        if !in_use {
            pool_segments(shared, &removed)?;
        }
        shared.disk.remove_dir_all(&removed).map_err(|e| FileError::new("remove", &removed, e))?;
        Ok(())
    }

    /// Stops a log, where it is open. True where a handle that is left may be reading: its files must not be written over.
    fn withdraw(&self, reserved: &Reserved<'_>) -> bool {
        let Some(log) = reserved.withdraw() else { return false };
        log.stop(StopReason::Closed);
        log.enqueue([Op::Abandon]);
        log.queue().run_all();
        Arc::strong_count(&log) > 1
    }

    fn forget_vote(&self, id: PartitionId) -> Result<(), OpenError> {
        if self.0.votes.get(id).is_none() {
            return Ok(());
        }
        let outcome = Arc::new(Mutex::new(None));
        let told = Arc::clone(&outcome);
        self.0.votes.forget(id, Box::new(move |result| *lock(&told) = Some(result)));
        // Either this writes it, or it waits here until the store's own worker has.
        self.0.votes.write_all();
        let path = self.0.shared.dir.join(VOTES_FILE);
        match lock(&outcome).take() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(FileError::new("write", &path, io::Error::other(error)).into()),
            None => Err(OpenError::Stopped(StopReason::Closed)),
        }
    }

    fn recover_partition(
        &self,
        reserved: Reserved<'_>,
        config: PartitionConfig,
    ) -> Result<PartitionLog, OpenError> {
        let (shared, id) = (&self.0.shared, reserved.id());
        let dir = self.partition_dir(id);
        if reserved.is_open() {
            return Err(OpenError::PartitionOpen { id });
        }
        if !shared.disk.exists(&dir).map_err(|e| FileError::new("look for", &dir, e))? {
            return Err(OpenError::NoSuchPartition { id });
        }
        let queue = Arc::clone(&self.0.queues[(id.get() % self.0.queues.len() as u64) as usize]);
        let parts = recover(shared, &dir, id, &config)?;
        let log = LogInner::new(id, dir, config, Arc::clone(shared), queue, parts);
        reserved.publish(&log);
        Ok(PartitionLog::from_inner(log))
    }

    fn check_open(&self) -> Result<(), OpenError> {
        self.stopped().map_or(Ok(()), |reason| Err(OpenError::Stopped(reason)))
    }

    fn partition_dir(&self, id: PartitionId) -> PathBuf {
        self.0.shared.dir.join(PARTITIONS_DIR).join(partition_name(id))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for log in self.logs.all() {
            log.stop(StopReason::Closed);
        }
        self.votes.close();
        self.queues.iter().for_each(|queue| queue.close());
        // A callback may have held the last clone: then this is a writer's own thread, which must not wait for itself.
        if self.queues.iter().any(|queue| queue.is_own_thread()) || self.votes.is_own_thread() {
            return;
        }
        std::mem::take(&mut *lock(&self.workers)).into_iter().for_each(WorkerHandle::join);
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exists(env: &Env, path: &Path) -> Result<bool, FileError> {
    env.disk.exists(path).map_err(|e| FileError::new("look for", path, e))
}

/// Makes the data directory, and its name durable.
fn make_dir(env: &Env, dir: &Path) -> Result<(), FileError> {
    if exists(env, dir)? {
        return Ok(());
    }
    env.disk.create_dir_all(dir).map_err(|e| FileError::new("create", dir, e))?;
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(()),
        Some(parent) => env.disk.sync_dir(parent).map_err(|e| FileError::new("sync", parent, e)),
        None => Ok(()),
    }
}

fn remove_temporaries(env: &Env, dir: &Path) -> Result<(), FileError> {
    for entry in env.disk.list(dir).map_err(|e| FileError::new("list", dir, e))? {
        if entry.name.ends_with(TEMPORARY_SUFFIX) && !entry.is_dir {
            let path = dir.join(&entry.name);
            env.disk.remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
        }
    }
    Ok(())
}

/// The votes. They are made before the directory of partitions, so where that stands they must be there: without them this
/// node could vote twice.
fn open_votes(env: &Env, dir: &Path, shared: &Arc<Shared>, is_new: bool) -> Result<VoteStore, OpenError> {
    let path = dir.join(VOTES_FILE);
    if !exists(env, &path)? {
        if !is_new {
            return Err(OpenError::Untrusted { path, reason: "missing" });
        }
        VoteStore::create(shared, &path)?;
    }
    let votes = VoteStore::open(Arc::clone(shared), path)?;
    if is_new {
        let partitions = dir.join(PARTITIONS_DIR);
        env.disk.create_dir_all(&partitions).map_err(|e| FileError::new("create", &partitions, e))?;
    }
    env.disk.sync_dir(dir).map_err(|e| FileError::new("sync", dir, e))?;
    Ok(votes)
}

fn read_node(env: &Env, dir: &Path) -> Result<Option<Bytes>, OpenError> {
    let path = dir.join(NODE_FILE);
    read_atomic(&*env.disk, &path, AtomicKind::Node).map_err(|error| match error {
        AtomicError::Damaged(reason) => OpenError::Untrusted { path, reason },
        AtomicError::Newer(found) => OpenError::Newer { path, found },
        AtomicError::File(error) => OpenError::File(error),
    })
}

/// Removes what a crash left of partitions that were being made, removed, or deleted for good.
fn clear_partitions(env: &Env, dir: &Path, votes: &VoteStore) -> Result<(), FileError> {
    let dir = dir.join(PARTITIONS_DIR);
    for entry in env.disk.list(&dir).map_err(|e| FileError::new("list", &dir, e))? {
        let path = dir.join(&entry.name);
        let bare = entry.name.strip_suffix(NEW_SUFFIX).or_else(|| entry.name.strip_suffix(REMOVED_SUFFIX));
        if entry.is_dir && bare.is_some_and(|name| parse_partition(name).is_some()) {
            env.disk.remove_dir_all(&path).map_err(|e| FileError::new("remove", &path, e))?;
        } else if let Some(id) = departure::parse_note(&entry.name).filter(|_| !entry.is_dir) {
            let is_here = env.disk.exists(&dir.join(partition_name(id)));
            let is_here = is_here.map_err(|e| FileError::new("look for", &path, e))?;
            if votes.get(id).is_none() && !is_here {
                env.disk.remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
            }
        } else if parse_partition(&entry.name).is_none() && !departure::is_quarantined(&entry.name) {
            tracing::warn!(path = %path.display(), "unknown file is left alone");
        }
    }
    Ok(())
}

/// Moves the segments of a removed partition into the pool.
fn pool_segments(shared: &Shared, dir: &Path) -> Result<(), FileError> {
    for entry in shared.disk.list(dir).map_err(|e| FileError::new("list", dir, e))? {
        if SegmentName::parse_log(&entry.name).is_some() {
            let path = dir.join(&entry.name);
            shared
                .pool
                .put(&path, entry.len_bytes, !shared.is_low_on_space())
                .map_err(|e| FileError::new("remove", &path, e))?;
        }
    }
    Ok(())
}

fn start_workers(
    env: &Env,
    lock: &Arc<dyn DiskLock>,
    queues: &[Arc<WriterQueue>],
    votes: &VoteStore,
) -> Result<Vec<WorkerHandle>, OpenError> {
    let mut workers = Vec::with_capacity(queues.len() + 1);
    let loops = queues.iter().map(|queue| Arc::clone(queue).run().boxed());
    for (number, run) in loops.chain([votes.clone().run().boxed()]).enumerate() {
        // The directory stays locked until the last writer has ended.
        let held = Arc::clone(lock);
        let worker = async move {
            run.await;
            drop(held);
        };
        let name = format!("varve-disk-{number}");
        let started = env.spawn.spawn_worker(&name, worker.boxed());
        workers.push(started.map_err(|e| FileError::new("start a writer for", Path::new(&name), e))?);
    }
    Ok(workers)
}

fn partition_name(id: PartitionId) -> String {
    format!("{:010}", id.get())
}

/// The partition that a directory's name says; `None` for any other name.
pub(crate) fn parse_partition(name: &str) -> Option<PartitionId> {
    let id = PartitionId::new(name.parse().ok()?);
    (partition_name(id) == name).then_some(id)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn check_partition(config: &PartitionConfig) -> Result<(), OpenError> {
    check("segment_bytes", config.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, "64 KiB to 1 GiB")?;
    check("producers_max", config.producers_max as u64, 1, PRODUCERS_MAX as u64, "1 to 65536")
}

fn check(
    name: &'static str,
    found: u64,
    min: u64,
    max: u64,
    expected: &'static str,
) -> Result<(), OpenError> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(OpenError::Setting { name, found, expected }) }
}

//! What the partitions of a data directory share.

use crate::lru::Lru;
use crate::pool::Pool;
use crate::segment::SegmentKey;
use crate::sparse_index::SparseIndex;
use crate::tail_cache::CacheBudget;
use crate::{FileError, StopReason, StorageConfig};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use varve_env::Entropy;
use varve_env::disk::{Disk, DiskFile};
use varve_record::PartitionId;
use varve_telemetry::{Histogram, Telemetry, catalogue};

/// The share of the disk that the reserve never passes: one part in so many.
const RESERVE_DISK_PARTS: u64 = 20;

/// Called when a write has failed for good.
pub(crate) type StopHook = Box<dyn FnOnce(StopReason) + Send>;

/// Files, caches and conditions shared by all partitions.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) dir: PathBuf,
    pub(crate) config: StorageConfig,
    pub(crate) files: Lru<SegmentKey, Arc<dyn DiskFile>>,
    pub(crate) indexes: Lru<SegmentKey, Arc<SparseIndex>>,
    pub(crate) pool: Pool,
    pub(crate) budget: Arc<CacheBudget>,
    low_space: AtomicBool,
    /// Bytes above the part of the reserve that others' entries leave alone at the last look, less what was let in since.
    room_bytes: AtomicU64,
    /// How many of them are kept for others' entries.
    held_bytes: AtomicU64,
    /// Something was refused for want of room since the last look.
    has_refused: AtomicBool,
    stop: Mutex<StopState>,
    /// How long syncs take, and how many entries each makes durable.
    pub(crate) sync_duration: Histogram<f64>,
    pub(crate) sync_entries: Histogram<f64>,
}

#[derive(Default)]
struct StopState {
    reason: Option<StopReason>,
    hooks: Vec<StopHook>,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
        dir: PathBuf,
        config: StorageConfig,
        pool: Pool,
        telemetry: &Telemetry,
    ) -> Self {
        Self {
            files: Lru::new(config.open_files_max),
            indexes: Lru::new(config.cached_indexes_max),
            budget: Arc::new(CacheBudget::new(config.tail_cache_bytes_total)),
            low_space: AtomicBool::new(false),
            room_bytes: AtomicU64::new(u64::MAX),
            held_bytes: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
            stop: Mutex::default(),
            sync_duration: telemetry.histogram(&catalogue::FSYNC_DURATION),
            sync_entries: telemetry.histogram(&catalogue::FSYNC_ENTRIES),
            disk,
            entropy,
            dir,
            config,
            pool,
        }
    }

    /// Lets go of the files and indexes of a partition.
    pub(crate) fn forget(&self, partition: PartitionId) {
        self.files.retain(|key| key.0 != partition);
        self.indexes.retain(|key| key.0 != partition);
    }

    /// A write or sync failed: tells the owner, once.
    pub(crate) fn fail(&self, error: &FileError) -> StopReason {
        let reason = StopReason::Failed(error.to_string().into());
        tracing::error!(%error, "a write failed: the log is stopped until it is opened again");
        let hooks = {
            let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            stop.reason.get_or_insert_with(|| reason.clone());
            std::mem::take(&mut stop.hooks)
        };
        hooks.into_iter().for_each(|hook| hook(reason.clone()));
        reason
    }

    /// It was closed, unless it failed before.
    pub(crate) fn set_closed(&self) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.reason.get_or_insert(StopReason::Closed);
    }

    pub(crate) fn stopped(&self) -> Option<StopReason> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).reason.clone()
    }

    pub(crate) fn on_stopped(&self, hook: StopHook) {
        let failed = {
            let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            match &stop.reason {
                Some(reason @ StopReason::Failed(_)) => reason.clone(),
                _ => return stop.hooks.push(hook),
            }
        };
        hook(failed);
    }

    /// Looks at the free space; below the reserve, and where something larger than what is left above it was refused, files of
    /// the pool go first.
    pub(crate) fn sample_space(&self) {
        let (was_low, has_refused) =
            (self.is_low_on_space(), self.has_refused.swap(false, Ordering::Relaxed));
        let mut room = self.look_for_room();
        if (has_refused || room.is_some_and(Room::is_low)) && self.pool.shrink(0) {
            room = self.look_for_room();
        }
        self.room_bytes.store(room.map_or(u64::MAX, |room| room.bytes), Ordering::Relaxed);
        let Some(room) = room else { return };
        self.held_bytes.store(room.held_bytes, Ordering::Relaxed);
        if was_low != room.is_low() {
            tracing::warn!(low = room.is_low(), "the free space has passed the reserve");
        }
        self.low_space.store(room.is_low(), Ordering::Relaxed);
    }

    /// A write found no room: until the next look all is kept for what makes some.
    pub(crate) fn note_full(&self) {
        self.room_bytes.store(0, Ordering::Relaxed);
        self.low_space.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_low_on_space(&self) -> bool {
        self.low_space.load(Ordering::Relaxed)
    }

    /// Whether so many bytes may be written without use of the reserve; none always may.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let held_bytes = self.held_bytes.load(Ordering::Relaxed);
        bytes == 0 || (!self.is_low_on_space() && self.has_room_for_others(bytes.saturating_add(held_bytes)))
    }

    /// Whether so many bytes may be written that another node has let in: they have half of the reserve, so that it lets none in
    /// any more before there is no room for them here.
    pub(crate) fn has_room_for_others(&self, bytes: u64) -> bool {
        let fits = bytes == 0 || bytes <= self.room_bytes.load(Ordering::Relaxed);
        if !fits {
            self.has_refused.store(true, Ordering::Relaxed);
        }
        fits
    }

    /// Counts bytes that were let in, so that a burst between two looks does not eat up the reserve.
    pub(crate) fn use_room(&self, bytes: u64) {
        let less = |room: u64| (room != u64::MAX).then(|| room.saturating_sub(bytes));
        // Where the room is not known there is nothing to count.
        let _unknown = self.room_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// The room there is; `None` where the system does not say.
    fn look_for_room(&self) -> Option<Room> {
        let space = self.disk.space(&self.dir).ok()?;
        let reserve = self.config.reserve_bytes.min(space.total_bytes / RESERVE_DISK_PARTS);
        let held_bytes = reserve / 2;
        Some(Room { bytes: space.available_bytes.saturating_sub(reserve - held_bytes), held_bytes })
    }
}

/// Free bytes, and how many of them are kept for others' entries.
#[derive(Clone, Copy)]
struct Room {
    bytes: u64,
    held_bytes: u64,
}

impl Room {
    fn is_low(self) -> bool {
        self.bytes <= self.held_bytes
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Whether an error says that there is no room: the one failure of a write that is waited out.
pub(crate) fn is_no_space(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

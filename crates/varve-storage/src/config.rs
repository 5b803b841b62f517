//! Settings, and the limits that hold where nothing is set.

/// The least size of a segment, header and checkpoint included: small enough for tests, large enough for a header.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// The greatest size of a segment: positions in the indexes are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The most bytes of one entry's body. A batch is at most 8 MiB; a membership or command stays far below.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most writer threads.
pub const WRITERS_MAX: usize = 64;

/// Settings of a [`Storage`](crate::Storage): shared by all its partitions.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Workers that write and sync; a partition belongs to one of them. 1 to [`WRITERS_MAX`].
    pub writers: usize,
    /// Bytes of deleted segments kept for reuse: writing over old blocks halves the cost of a sync.
    pub pool_bytes_max: u64,
    /// Open files of sealed segments.
    pub open_files_max: usize,
    /// Sparse indexes of sealed segments held in memory.
    pub cached_indexes_max: usize,
    /// Bytes of all tail caches together.
    pub tail_cache_bytes_total: usize,
    /// Free space below which batches are refused; never more than 5 % of the disk. It is kept for what a full disk is left
    /// by: trims, small commands, what a term begins with. Half of it takes entries that a leader has let in before: leaders
    /// refuse before their followers have no room.
    pub reserve_bytes: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            writers: 4,
            pool_bytes_max: 512 * 1024 * 1024,
            open_files_max: 256,
            cached_indexes_max: 64,
            tail_cache_bytes_total: 256 * 1024 * 1024,
            reserve_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Settings of one partition.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// A segment is rolled before it would pass this size. [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`]; an entry larger
    /// than a segment gets one of its own.
    pub segment_bytes: u64,
    /// Bytes of the newest entries kept in memory for those who follow the tail.
    pub tail_cache_bytes: usize,
    /// Bytes that may wait to be written; an append over it is refused.
    pub queue_bytes_max: usize,
    /// Entries that may wait to be written; an append over it is refused.
    pub queue_entries_max: usize,
    /// Idempotent producers remembered; beyond it the one least recently heard of in the log is forgotten. Must be the same
    /// on all replicas of a partition.
    pub producers_max: usize,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 128 * 1024 * 1024,
            tail_cache_bytes: 4 * 1024 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
            queue_entries_max: 16 * 1024,
            producers_max: 10_000,
        }
    }
}

/// How much of a log is kept. What passes either bound may be trimmed, whole segments at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Age in milliseconds since the append time of a segment's newest entry.
    pub age_ms: Option<i64>,
}

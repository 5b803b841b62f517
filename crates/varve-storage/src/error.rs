//! What can go wrong, an enum for each kind of operation.

use crate::Damage;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use varve_record::{Index, Offset, PartitionId, Term};

/// A file operation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    /// The system's kind of error.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Why a data directory, or a partition in it, was not opened or made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another handle in this one, has the directory.
    #[error("data directory {} is in use by another process: stop it, or give this one another directory", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// No such partition.
    #[error("partition {id} does not exist in this data directory")]
    NoSuchPartition {
        /// The partition.
        id: PartitionId,
    },
    /// The partition was made before.
    #[error("partition {id} exists already: open it instead")]
    PartitionExists {
        /// The partition.
        id: PartitionId,
    },
    /// The partition is open already: clone the handle that is in use.
    #[error("partition {id} is open already: clone the handle that is in use")]
    PartitionOpen {
        /// The partition.
        id: PartitionId,
    },
    /// A setting is out of range.
    #[error("setting {name} is {found}: it must be {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        found: u64,
        /// What it must be.
        expected: &'static str,
    },
    /// A file that decides is missing or damaged; starting without it could break a promise made before.
    #[error("{} is {reason}: restore it, or give this node an empty data directory and a new identity", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A newer version wrote this file.
    #[error("{} was written by a newer version (format {found}): upgrade to open it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format's version, or the kind of frame, that this version does not know.
        found: u32,
    },
    /// The storage is stopped or closed.
    #[error("storage is stopped: {0}")]
    Stopped(StopReason),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a log takes no more writes until it is opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// A write or a sync failed, so nothing is known of what is on the disk.
    #[error("a write failed, and what is on the disk is unknown until the log is opened again: {0}")]
    Failed(Arc<str>),
    /// It was closed.
    #[error("it was closed")]
    Closed,
}

/// Why entries were not appended, or not made durable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log takes no more writes. Entries given before may or may not be on the disk.
    #[error("storage is stopped: {0}")]
    StorageStopped(StopReason),
    /// There is no room: retry when there is.
    #[error("disk is full: free some space, and appends go on by themselves")]
    DiskFull,
    /// Too much waits to be written: retry when some of it is done.
    #[error(
        "write queue is full ({queued_bytes} bytes in {queued_entries} entries): wait for earlier appends"
    )]
    QueueFull {
        /// Bytes that wait.
        queued_bytes: usize,
        /// Entries that wait.
        queued_entries: usize,
    },
    /// The entry is not the next one.
    #[error("entry {found} does not follow the log's last entry: {expected} is next")]
    NotContiguous {
        /// The index that is next.
        expected: Index,
        /// The index that was given.
        found: Index,
    },
    /// Terms never fall along a log.
    #[error("term {found} at entry {index} is below term {last} before it")]
    TermFell {
        /// The entry.
        index: Index,
        /// The term before.
        last: Term,
        /// Its term.
        found: Term,
    },
    /// The entry is larger than any entry may be.
    #[error("entry {index} has {found} bytes: the limit is {limit}")]
    TooLarge {
        /// The entry.
        index: Index,
        /// Its body's bytes.
        found: usize,
        /// The most bytes allowed.
        limit: usize,
    },
    /// The body is not what its kind says.
    #[error("entry {index} is malformed: {reason}")]
    Malformed {
        /// The entry.
        index: Index,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A truncation or reset is under way: append after it is done.
    #[error("log is being truncated: append after that is done")]
    Truncating,
    /// The end of the log is damaged.
    #[error("log is damaged, repair it first: {0}")]
    Damaged(Damage),
}

/// Why a truncation, roll or other change of the log did not happen.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log takes no more writes.
    #[error("storage is stopped: {0}")]
    StorageStopped(StopReason),
    /// Committed entries are never taken back.
    #[error("cannot truncate after {last_kept:?}: entries up to {committed} are committed")]
    Committed {
        /// The last entry that was to stay.
        last_kept: Option<Index>,
        /// The last committed entry.
        committed: Index,
    },
    /// The entry to keep as the last is not in the log.
    #[error("cannot truncate after {last_kept:?}: the log holds {first} to {last:?}")]
    OutOfRange {
        /// The last entry that was to stay.
        last_kept: Option<Index>,
        /// The first entry of the log.
        first: Index,
        /// The last entry of the log.
        last: Option<Index>,
    },
    /// Another truncation or reset is under way.
    #[error("log is being truncated already: wait until that is done")]
    Truncating,
    /// There is no room on the disk.
    #[error("disk is full: free some space and try again")]
    DiskFull,
    /// The log is damaged where it would have to be read.
    #[error("log is damaged, repair it first: {0}")]
    Damaged(Damage),
    /// The system refused; nothing was changed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a read gives nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What was asked for is no longer kept.
    #[error("offset is trimmed: the log begins at offset {log_start}")]
    Trimmed {
        /// The first offset kept.
        log_start: Offset,
    },
    /// The entries asked for are no longer kept.
    #[error("entry is purged: the log begins at entry {first_index}")]
    Purged {
        /// The first entry kept.
        first_index: Index,
    },
    /// The bytes are not those that were written.
    #[error("data is damaged: {0}")]
    Damaged(Damage),
    /// The log was stopped by a failed write, and what was asked for may not be durable.
    #[error("storage is stopped: {0}")]
    Stopped(StopReason),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

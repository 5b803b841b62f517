//! How a partition is.

use crate::Progress;
use varve_record::{Offset, PartitionId, Timestamp};
use varve_storage::{Damage, LogId};

/// How a partition is, for whoever asks.
#[derive(Clone, Debug)]
pub struct PartitionStatus {
    /// Which.
    pub id: PartitionId,
    /// How far it is.
    pub progress: Progress,
    /// The log's last entry.
    pub last: Option<LogId>,
    /// The offset that the next record gets, committed or not.
    pub next_offset: Offset,
    /// When the last entry was appended.
    pub last_append_time: Timestamp,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Damage, where some was found: such a replica takes no records until it is repaired.
    pub damage: Option<Damage>,
    /// Whether it waits for room on the disk.
    pub disk_full: bool,
    /// Whether it has stopped: it failed, or was told to. It does not begin again by itself.
    pub stopped: bool,
}

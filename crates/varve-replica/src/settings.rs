//! Settings of a replica, and its limits.

use varve_storage::{PartitionConfig, Retention};

/// Bytes of batches that a partition holds between their arrival and their sync; over it producers wait.
pub const IN_FLIGHT_BYTES_MAX: usize = 32 * 1024 * 1024;

// A batch that could never be in flight would wait for ever.
const _: () = assert!(varve_record::BATCH_BYTES_MAX <= IN_FLIGHT_BYTES_MAX);

/// The most bytes of one command of a [`CommandLog`](crate::CommandLog), encoded.
pub const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of the state of a [`CommandLog`](crate::CommandLog), encoded: it travels as one frame. A larger state gets no
/// snapshots, and its log keeps all commands.
pub const COMMAND_STATE_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(COMMAND_STATE_BYTES_MAX + 1024 * 1024 <= varve_net::PEER_PAYLOAD_BYTES_MAX);

/// Proposals that wait for a partition's proposer; over it producers wait.
pub const PROPOSALS_MAX: usize = 1024;

/// Settings of one partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionSettings {
    /// How its log lies on disk.
    pub log: PartitionConfig,
    /// What it keeps.
    pub retention: Retention,
}

/// Settings of a [`CommandLog`](crate::CommandLog).
#[derive(Clone, Debug)]
pub struct CommandLogSettings {
    /// How its log lies on disk. What is purged are whole segments, so that they are small.
    pub log: PartitionConfig,
    /// Entries of commands that are applied before a snapshot is made. Half as many are kept before each snapshot, for
    /// members that are a little behind.
    pub snapshot_entries: u64,
    /// Bytes of commands that are applied before a snapshot is made.
    pub snapshot_bytes: u64,
}

impl Default for CommandLogSettings {
    fn default() -> Self {
        let log = PartitionConfig { segment_bytes: 4 * 1024 * 1024, ..PartitionConfig::default() };
        Self { log, snapshot_entries: 4096, snapshot_bytes: 4 * 1024 * 1024 }
    }
}

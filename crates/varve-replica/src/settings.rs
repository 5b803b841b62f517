//! Settings of a replica, and its limits.

use varve_storage::{PartitionConfig, Retention};

/// Bytes of batches that a partition holds between their arrival and their sync; over it producers wait.
pub const IN_FLIGHT_BYTES_MAX: usize = 32 * 1024 * 1024;

// A batch that could never be in flight would wait for ever.
const _: () = assert!(varve_record::BATCH_BYTES_MAX <= IN_FLIGHT_BYTES_MAX);

/// The most bytes of one command of a [`CommandLog`](crate::CommandLog), encoded.
pub const COMMAND_BYTES_MAX: usize = 1024 * 1024;

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

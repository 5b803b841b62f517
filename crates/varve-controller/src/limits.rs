//! The limits of the metadata.

/// Partitions in a cluster, of all topics together. It also bounds the topics, as none is without a partition.
pub const PARTITIONS_MAX: usize = 10_000;

/// Producers with a name of their own in a cluster.
pub const NAMED_PRODUCERS_MAX: usize = 100_000;

/// Length of a producer's name, in bytes.
pub const PRODUCER_NAME_BYTES_MAX: usize = 249;

/// Producer ids that a node takes at once, to hand out without a command for each.
pub const PRODUCER_IDS_BLOCK: u32 = 1_000;

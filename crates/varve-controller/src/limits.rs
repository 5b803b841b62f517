//! The limits of the metadata.

/// Partitions in a cluster, of all topics together. It also bounds the topics, as none is without a partition.
pub const PARTITIONS_MAX: usize = 10_000;

/// Producers with a name of their own in a cluster.
pub const NAMED_PRODUCERS_MAX: usize = 100_000;

/// Those of them that belong to one subject: nobody alone takes them all.
pub const NAMED_PRODUCERS_OF_SUBJECT_MAX: usize = 5_000;

/// Length of a producer's name, in bytes.
pub const PRODUCER_NAME_BYTES_MAX: usize = 249;

/// Producer ids that a node takes at once, to hand out without a command for each.
pub const PRODUCER_IDS_BLOCK: u32 = 1_000;

/// Replicas of a partition.
pub const REPLICATION_FACTOR_MAX: u32 = 7;

/// Nodes in a cluster, with those that are draining or lost and not yet removed.
pub const NODES_MAX: usize = 1_000;

/// Length of a node's name, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 249;

/// Length of a node's address, in bytes: a host name of 253, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 259;

/// Length of a rack's name, in bytes.
pub const RACK_BYTES_MAX: usize = 249;

/// Entries in one [`crate::Command::Report`], of each kind. A node that has more to say sends several.
pub const REPORT_ENTRIES_MAX: usize = 1_000;

/// Partitions whose members change at the same time, in the whole cluster: each may copy a whole partition.
pub const CHANGES_IN_FLIGHT_MAX: usize = 64;

/// Entries of each list in [`crate::Health`]; the counts are whole.
pub const HEALTH_LISTED_MAX: usize = 100;

/// Voters of the controller's group. More would make each of its commits wait for more disks and hardly add safety.
pub const CONTROLLER_VOTERS_MAX: usize = 5;

/// The commands that this version knows: 1 is those of the first one, 2 has [`crate::Command::ClaimProducer`] besides. Nodes tell each
/// other, so that a command comes into the log only where all know it.
pub const COMMANDS_KNOWN: u32 = 2;

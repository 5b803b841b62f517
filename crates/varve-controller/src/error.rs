//! Why a command was refused.

use thiserror::Error;
use varve_record::{NodeId, PartitionId};

/// A command that changed nothing. The refusal is part of the state machine: every node comes to the same one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetadataError {
    /// A topic of that name exists.
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// No topic has that name.
    #[error("topic {0} does not exist: create it first")]
    TopicNotFound(String),
    /// The name breaks the rule for names.
    #[error("{0:?} is no topic name: use 1 to 249 of A-Z a-z 0-9 . _ -, but not . or ..")]
    TopicName(String),
    /// A topic has at least one partition and at least one replica.
    #[error("a topic needs at least one {0}")]
    Zero(&'static str),
    /// The cluster would have too many partitions.
    #[error("the cluster would have {wanted} partitions, at most {max} are allowed")]
    TooManyPartitions {
        /// Partitions that there would be.
        wanted: usize,
        /// [`crate::PARTITIONS_MAX`].
        max: usize,
    },
    /// Partitions are never taken away: their records would be lost.
    #[error(
        "topic {topic} has {has} partitions and cannot go down to {wanted}: partitions are never taken away"
    )]
    FewerPartitions {
        /// The topic.
        topic: String,
        /// Partitions that it has.
        has: usize,
        /// Partitions that were asked for.
        wanted: usize,
    },
    /// A producer's name is empty or too long.
    #[error("a producer's name has 1 to {max} bytes, this one has {len}")]
    ProducerName {
        /// Length of the name, in bytes.
        len: usize,
        /// [`crate::PRODUCER_NAME_BYTES_MAX`].
        max: usize,
    },
    /// A producer's name that is claimed has control characters.
    #[error("a producer's name has no control characters, and {name:?} has")]
    ProducerNameControl {
        /// The name.
        name: String,
    },
    /// Too many producers have names.
    #[error("{max} producers have names already: use fewer names, or producers without one")]
    TooManyProducers {
        /// [`crate::NAMED_PRODUCERS_MAX`].
        max: usize,
    },
    /// Too many of them belong to one subject.
    #[error(
        "{subject:?} has {max} named producers already: use fewer names, producers without one, or another subject"
    )]
    TooManyProducersOfSubject {
        /// The subject.
        subject: String,
        /// [`crate::NAMED_PRODUCERS_OF_SUBJECT_MAX`].
        max: usize,
    },
    /// The name belongs to another subject. Which one is not for everybody to know.
    #[error(
        "the producer name {name:?} belongs to another subject: use another name, or have an administrator of the cluster hand it over"
    )]
    ProducerOwned {
        /// The name.
        name: String,
    },
    /// All 2^63 producer ids were given out.
    #[error("no producer ids are left")]
    ProducerIdsExhausted,
    /// More replicas than a partition may have.
    #[error("a partition has at most {max} replicas, {wanted} were asked for")]
    TooManyReplicas {
        /// Replicas that were asked for.
        wanted: usize,
        /// [`crate::REPLICATION_FACTOR_MAX`].
        max: usize,
    },
    /// The cluster has as many nodes as it may have.
    #[error("the cluster has {max} nodes already: remove those that are lost")]
    TooManyNodes {
        /// [`crate::NODES_MAX`].
        max: usize,
    },
    /// A node's name, address or rack breaks the rule.
    #[error(
        "{text:?} is no {field} of a node: use {min} to {max} visible characters of ASCII, without blanks"
    )]
    NodeText {
        /// Which it is: `name`, `rpc_addr`, `gossip_addr` or `rack`.
        field: &'static str,
        /// What was given, cut short if it is too long.
        text: String,
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// No node ever had that id.
    #[error("node {0} does not exist")]
    NodeNotFound(NodeId),
    /// The node was taken out of the cluster.
    #[error(
        "node {0} was removed from the cluster: it can only join as a new node, with an empty data directory"
    )]
    NodeRemoved(NodeId),
    /// The node was declared lost.
    #[error(
        "node {0} was declared lost and never comes back: it can only join as a new node, with an empty data directory"
    )]
    NodeLost(NodeId),
    /// Somebody must take the replicas.
    #[error("node {0} is the last one that takes replicas: add another node first")]
    LastActiveNode(NodeId),
    /// Only a node that is draining or lost can be removed.
    #[error("node {0} takes replicas: drain it first")]
    NodeActive(NodeId),
    /// The node still has replicas.
    #[error("node {node} still has {replicas} replicas: they have to move away first")]
    NodeInUse {
        /// The node.
        node: NodeId,
        /// Replicas that it has, with those not known to be out of their groups.
        replicas: usize,
    },
    /// No topic has the partition.
    #[error("partition {0} does not exist")]
    PartitionNotFound(PartitionId),
    /// The placement was changed by another command in between.
    #[error(
        "the replicas of partition {partition} were changed in between: generation {generation} was meant, it is {current}"
    )]
    StaleGeneration {
        /// The partition.
        partition: PartitionId,
        /// The generation that was meant.
        generation: u64,
        /// The generation that it has.
        current: u64,
    },
    /// A node stands twice among the replicas.
    #[error("node {node} stands twice among the replicas of partition {partition}")]
    ReplicaTwice {
        /// The partition.
        partition: PartitionId,
        /// The node.
        node: NodeId,
    },
    /// A new replica on a node that takes none.
    #[error("node {0} takes no new replicas: it is draining")]
    NodeDraining(NodeId),
    /// A report that is too long.
    #[error("a report has at most {max} entries of a kind, this one has {entries}: send several")]
    ReportTooLong {
        /// Entries that it has.
        entries: usize,
        /// [`crate::REPORT_ENTRIES_MAX`].
        max: usize,
    },
}

//! Why a command was refused.

use thiserror::Error;

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
    /// Too many producers have names.
    #[error("{max} producers have names already: use fewer names, or producers without one")]
    TooManyProducers {
        /// [`crate::NAMED_PRODUCERS_MAX`].
        max: usize,
    },
    /// All 2^63 producer ids were given out.
    #[error("no producer ids are left")]
    ProducerIdsExhausted,
}

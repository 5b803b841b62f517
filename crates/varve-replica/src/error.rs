//! What can go wrong.

use std::path::PathBuf;
use thiserror::Error;
use varve_record::{NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence};
use varve_storage::{AppendError, Damage, OpenError, StopReason};

/// A replica that could not be opened.
#[derive(Debug, Error)]
pub enum OpenReplicaError {
    /// Its files could not.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// Its files are gone, although the node has voted in its group: to begin anew would give offsets away twice.
    #[error("the log of partition {id} is gone: restore its directory, or delete the topic")]
    Lost {
        /// The partition.
        id: PartitionId,
    },
    /// It could not go on, and is to be opened again once nobody uses what it was.
    #[error("the replica of partition {id} has failed, and is being opened again")]
    Failed {
        /// The partition.
        id: PartitionId,
    },
    /// Its log or its snapshot is not all that was durable here.
    #[error("what lies here of partition {id} is not all that was durable: {reason}")]
    Untrusted {
        /// The partition.
        id: PartitionId,
        /// What is wrong.
        reason: String,
    },
    /// It could not begin its term.
    #[error("cannot begin a term: {0}")]
    Begin(ProduceError),
    /// Its log could not be replayed.
    #[error("cannot replay the log: {0}")]
    Replay(#[from] varve_storage::ReadError),
}

impl OpenReplicaError {
    /// Whether what the replica had is lost or damaged, so that to open it again gives the same.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::Untrusted { .. } | Self::Replay(varve_storage::ReadError::Damaged(_))
        )
    }
}

/// A batch that was not appended, or of which nobody can say.
#[derive(Clone, Debug, Error)]
pub enum ProduceError {
    /// The condition does not hold.
    #[error("expected to append at offset {expected}, but the next offset is {actual}")]
    ExpectedOffsetMismatch {
        /// The offset that was asked for.
        expected: Offset,
        /// The offset that the next record gets.
        actual: Offset,
    },
    /// A newer instance of the producer has taken over.
    #[error("producer {id} with epoch {found} is fenced: epoch {current} has taken over")]
    Fenced {
        /// The producer.
        id: ProducerId,
        /// The epoch of the batch.
        found: ProducerEpoch,
        /// The epoch that is in force.
        current: ProducerEpoch,
    },
    /// A batch before this one is missing.
    #[error("producer {id} sent sequence {found}, but {expected} is next: an earlier batch is missing")]
    OutOfOrderSequence {
        /// The producer.
        id: ProducerId,
        /// The sequence that is next.
        expected: Sequence,
        /// The sequence of the batch.
        found: Sequence,
    },
    /// Nothing is known of the producer, so that a sequence above 0 cannot be judged.
    #[error("producer {id} is not known here (any more): begin again with a new producer")]
    UnknownProducer {
        /// The producer.
        id: ProducerId,
    },
    /// Another replica leads.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who leads, where it is known.
        leader: Option<NodeId>,
    },
    /// It may have been appended, or not.
    #[error("the outcome is not known: the batch may have been appended or not")]
    CommitUnknown,
    /// The batch is larger than an entry may be.
    #[error("the batch has {size_bytes} bytes, at most {max_bytes} are possible")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// Too much waits to be written.
    #[error("too much waits to be written: try again")]
    Overloaded,
    /// There is no room on the disk.
    #[error("the disk is full: free some room, and appends go on by themselves")]
    DiskFull,
    /// The log is damaged.
    #[error("the log is damaged: {0}")]
    Damaged(Damage),
    /// Writing has failed and is over; the batch may have been appended or not.
    #[error("storage has stopped: {0}")]
    Stopped(StopReason),
    /// The replica is closing; the batch was not appended.
    #[error("the partition is shutting down")]
    ShuttingDown,
    /// The log refused the entry, which no caller can cause.
    #[error("the log refused the entry: {0}")]
    Internal(String),
}

impl From<AppendError> for ProduceError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::StorageStopped(reason) => Self::Stopped(reason),
            AppendError::DiskFull => Self::DiskFull,
            AppendError::QueueFull { .. } | AppendError::Truncating => Self::Overloaded,
            AppendError::TooLarge { found, limit, .. } => {
                Self::TooLarge { size_bytes: found, max_bytes: limit }
            }
            AppendError::Damaged(damage) => Self::Damaged(damage),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// A change of a group that was not made, or of which nobody can say.
#[derive(Clone, Debug, Error)]
pub enum GroupError {
    /// Another replica leads.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who leads, where it is known.
        leader: Option<NodeId>,
    },
    /// It was refused, and nothing was changed.
    #[error("the group refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// It may have been made, or not.
    #[error("the outcome is not known: ask for the members")]
    Unknown,
    /// The replica is damaged, and keeps out of its group.
    #[error("the replica is damaged, and keeps out of its group")]
    Idle,
    /// The replica has stopped.
    #[error("the replica has stopped")]
    Stopped,
}

/// A read that gave nothing.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The records were trimmed.
    #[error("offset {offset} was trimmed: the log starts at {log_start_offset}")]
    Trimmed {
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset that is kept.
        log_start_offset: Offset,
        /// The first offset that is not committed.
        high_watermark: Offset,
    },
    /// Nothing is there yet.
    #[error("offset {offset} lies beyond the tail: the next record gets {high_watermark}")]
    BeyondTail {
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset that is kept.
        log_start_offset: Offset,
        /// The first offset that is not committed.
        high_watermark: Offset,
    },
    /// The bytes on disk are not those that were written.
    #[error("the log is damaged: {0}")]
    Damaged(Damage),
    /// The read wants the leader, which this replica is not.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who leads, where it is known.
        leader: Option<NodeId>,
    },
    /// Writing has failed, and what was asked for may not be durable.
    #[error("storage has stopped: {0}")]
    Stopped(StopReason),
    /// A file could not be read.
    #[error("cannot read {}: {reason}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The replica is closing.
    #[error("the partition is shutting down")]
    ShuttingDown,
}

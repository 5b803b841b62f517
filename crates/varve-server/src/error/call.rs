//! What goes wrong with a call: every error of the lower floors as a reason of the API, exhaustively.

use std::fmt;
use std::io;
use std::time::Duration;

use varve_api::error::{ApiError, Reason, meta};
use varve_controller::MetadataError;
use varve_record::{BatchError, BuildError, NodeId, Offset, PushError};
use varve_replica::{CommandError, GroupError, OpenReplicaError, ProduceError, ReadError};
use varve_storage::{Damage, OpenError, StopReason};

use crate::{DISK_FULL_RETRY, OVERLOADED_RETRY};

/// The partition that a call is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {} partition {}", self.topic, self.partition)
    }
}

/// A batch that was not appended, or of which nobody can say.
pub(crate) fn produce_error(error: ProduceError, at: At<'_>) -> ApiError {
    let message = format!("{at}: {error}");
    let api = |reason| ApiError::new(reason, message.clone());
    match error {
        ProduceError::ExpectedOffsetMismatch { expected, actual } => api(Reason::ExpectedOffsetMismatch)
            .with(meta::EXPECTED_OFFSET, expected)
            .with(meta::ACTUAL_OFFSET, actual),
        ProduceError::Fenced { id, found: _, current } => {
            api(Reason::Fenced).with(meta::PRODUCER_ID, id).with(meta::CURRENT_EPOCH, current)
        }
        ProduceError::OutOfOrderSequence { id, expected, found } => api(Reason::OutOfOrderSequence)
            .with(meta::PRODUCER_ID, id)
            .with(meta::EXPECTED_SEQUENCE, expected)
            .with(meta::ACTUAL_SEQUENCE, found),
        ProduceError::UnknownProducer { id } => api(Reason::UnknownProducer).with(meta::PRODUCER_ID, id),
        ProduceError::NotLeader { leader } => not_leader(message, leader),
        ProduceError::CommitUnknown => api(Reason::CommitUnknown),
        ProduceError::TooLarge { size_bytes, max_bytes } => {
            too_large(Reason::BatchTooLarge, message, size_bytes as u64, max_bytes as u64)
        }
        ProduceError::Overloaded => overloaded("partition-queue", message),
        ProduceError::DiskFull => api(Reason::DiskFull).retry_after(DISK_FULL_RETRY),
        ProduceError::Damaged(damage) => data_loss(message, &damage),
        ProduceError::Stopped(reason) => stopped(message, &reason),
        ProduceError::ShuttingDown => api(Reason::ShuttingDown),
        ProduceError::Internal(_) => api(Reason::Internal),
    }
}

/// A read that gave nothing.
pub(crate) fn read_error(error: ReadError, at: At<'_>) -> ApiError {
    let message = format!("{at}: {error}");
    match error {
        ReadError::Trimmed { offset: _, log_start_offset, high_watermark } => {
            outside(Reason::OffsetTrimmed, message, log_start_offset, high_watermark)
        }
        ReadError::BeyondTail { offset: _, log_start_offset, high_watermark } => {
            outside(Reason::OffsetBeyondTail, message, log_start_offset, high_watermark)
        }
        ReadError::Damaged(damage) => data_loss(message, &damage),
        ReadError::NotLeader { leader } => not_leader(message, leader),
        ReadError::Stopped(StopReason::Closed) | ReadError::ShuttingDown => {
            ApiError::new(Reason::ShuttingDown, message)
        }
        ReadError::Stopped(_) => ApiError::new(Reason::StorageStopped, message),
        ReadError::Io { .. } => ApiError::new(Reason::Internal, message),
    }
}

/// A change of the metadata that was refused by them.
pub(crate) fn metadata_error(error: MetadataError) -> ApiError {
    let message = error.to_string();
    match error {
        MetadataError::TopicExists(topic) => {
            ApiError::new(Reason::TopicExists, message).with(meta::TOPIC, topic)
        }
        MetadataError::TopicNotFound(topic) => {
            ApiError::new(Reason::TopicNotFound, message).with(meta::TOPIC, topic)
        }
        MetadataError::TopicName(topic) => {
            ApiError::new(Reason::InvalidTopicName, message).with(meta::TOPIC, topic)
        }
        MetadataError::Zero("partition") | MetadataError::FewerPartitions { .. } => {
            invalid("partitions", message)
        }
        MetadataError::Zero(_) => invalid("replication_factor", message),
        MetadataError::ProducerName { .. } | MetadataError::ProducerNameControl { .. } => {
            invalid("name", message)
        }
        MetadataError::TooManyPartitions { .. } => quota("cluster-partitions", message),
        MetadataError::TooManyProducers { .. } => quota("cluster-named-producers", message),
        MetadataError::TooManyProducersOfSubject { .. } => quota("subject-named-producers", message),
        MetadataError::ProducerOwned { .. } => ApiError::new(Reason::PermissionDenied, message),
        MetadataError::ProducerIdsExhausted => quota("cluster-producer-ids", message),
        MetadataError::TooManyNodes { .. } => quota("cluster-nodes", message),
        MetadataError::TooManyReplicas { .. } => invalid("replication_factor", message),
        MetadataError::ReplicaTwice { .. } => invalid("replicas", message),
        MetadataError::ReportTooLong { .. } => invalid("report", message),
        MetadataError::NodeText { field, .. } => invalid(field, message),
        MetadataError::NodeNotFound(node) | MetadataError::NodeRemoved(node) => {
            ApiError::new(Reason::NodeNotFound, message).with(meta::NODE_ID, node)
        }
        MetadataError::NodeLost(_)
        | MetadataError::NodeActive(_)
        | MetadataError::NodeDraining(_)
        | MetadataError::NodeInUse { .. }
        | MetadataError::LastActiveNode(_)
        | MetadataError::PartitionNotFound(_)
        | MetadataError::StaleGeneration { .. } => ApiError::new(Reason::ChangeRefused, message),
    }
}

/// A change of the metadata that their log did not take.
pub(crate) fn command_error(error: CommandError) -> ApiError {
    match error {
        CommandError::Log(error) => produce_error(error, At { topic: "(metadata)", partition: 0 }),
    }
}

/// A change of a group's members or leader that was not made.
pub(crate) fn group_error(error: GroupError) -> ApiError {
    let message = error.to_string();
    match error {
        GroupError::NotLeader { leader } => not_leader(message, leader),
        GroupError::Unknown => ApiError::new(Reason::CommitUnknown, message),
        GroupError::Stopped => ApiError::new(Reason::ShuttingDown, message),
        _ => ApiError::new(Reason::ChangeRefused, message),
    }
}

/// A server that the cluster does not have.
pub(crate) fn no_node(node: NodeId) -> ApiError {
    let message = format!("the cluster has no server {node}: look at its members for the ids");
    ApiError::new(Reason::NodeNotFound, message).with(meta::NODE_ID, node)
}

/// A partition that this node could not open.
pub(crate) fn open_error(error: &OpenReplicaError, at: At<'_>) -> ApiError {
    let message = format!("{at} could not be opened: {error}");
    match error {
        OpenReplicaError::Storage(OpenError::Untrusted { path, .. }) => {
            ApiError::new(Reason::DataLoss, message).with(meta::FILE, path.display()).with(meta::POSITION, 0)
        }
        OpenReplicaError::Lost { id } => ApiError::new(Reason::DataLoss, message)
            .with(meta::FILE, format!("partitions/{:010}", id.get()))
            .with(meta::POSITION, 0),
        OpenReplicaError::Storage(OpenError::Stopped(reason)) => stopped(message, reason),
        OpenReplicaError::Storage(OpenError::File(file)) if is_full(file.kind()) => {
            ApiError::new(Reason::DiskFull, message).retry_after(DISK_FULL_RETRY)
        }
        OpenReplicaError::Begin(error) => ApiError { message, ..produce_error(error.clone(), at) },
        OpenReplicaError::Failed { .. } => ApiError::new(Reason::NoLeader, message),
        OpenReplicaError::Replay(varve_storage::ReadError::Damaged(damage)) => data_loss(message, damage),
        OpenReplicaError::Storage(_) | OpenReplicaError::Replay(_) | OpenReplicaError::Untrusted { .. } => {
            ApiError::new(Reason::Internal, message)
        }
    }
}

/// An encoded batch that is refused.
pub(crate) fn batch_error(error: &BatchError) -> ApiError {
    let message = error.to_string();
    match *error {
        BatchError::OverLimit { field: "record size in bytes", found, limit } => {
            too_large(Reason::RecordTooLarge, message, found, limit)
        }
        BatchError::OverLimit { field: _, found, limit } => {
            too_large(Reason::BatchTooLarge, message, found, limit)
        }
        _ => ApiError::new(Reason::InvalidBatch, message),
    }
}

/// A record that does not fit into a batch.
pub(crate) fn push_error(error: PushError, batch_bytes: usize, batch_bytes_max: usize) -> ApiError {
    let message = error.to_string();
    match error {
        PushError::RecordTooLarge { found, limit } => {
            too_large(Reason::RecordTooLarge, message, found as u64, limit as u64)
        }
        PushError::Full => {
            let message =
                format!("the records come to more than the {batch_bytes_max} bytes of a batch: send fewer");
            too_large(Reason::BatchTooLarge, message, batch_bytes as u64, batch_bytes_max as u64)
        }
        PushError::Timestamp => invalid("records.create_time", message),
    }
}

/// Records that cannot be made a batch.
pub(crate) fn build_error(error: &BuildError) -> ApiError {
    match error {
        BuildError::Empty => invalid("records", error),
        BuildError::Header(_) => invalid("producer", error),
        BuildError::Compress { .. } => ApiError::new(Reason::Internal, error.to_string()),
    }
}

/// A request that contradicts itself, or lacks something.
pub(crate) fn invalid(field: &str, message: impl fmt::Display) -> ApiError {
    ApiError::new(Reason::InvalidRequest, format!("{field}: {message}")).with(meta::FIELD, field)
}

/// A limit of this server is reached for the moment.
pub(crate) fn overloaded(limit: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::Overloaded, message).with(meta::LIMIT, limit).retry_after(OVERLOADED_RETRY)
}

/// Time is up.
pub(crate) fn timed_out(what: impl fmt::Display, after: Duration) -> ApiError {
    ApiError::new(
        Reason::Deadline,
        format!("{what} took more than {} s: try again, or look after the server", after.as_secs()),
    )
}

fn outside(reason: Reason, message: String, log_start: Offset, high_watermark: Offset) -> ApiError {
    ApiError::new(reason, message)
        .with(meta::LOG_START_OFFSET, log_start)
        .with(meta::HIGH_WATERMARK, high_watermark)
}

fn not_leader(message: String, leader: Option<NodeId>) -> ApiError {
    match leader {
        Some(leader) => ApiError::new(Reason::NotLeader, message).with(meta::LEADER_ID, leader),
        None => ApiError::new(Reason::NoLeader, message),
    }
}

fn data_loss(message: String, damage: &Damage) -> ApiError {
    ApiError::new(Reason::DataLoss, message)
        .with(meta::FILE, damage.file.display())
        .with(meta::POSITION, damage.position)
}

/// What was under way when a log closed or failed may have been written.
fn stopped(message: String, reason: &StopReason) -> ApiError {
    match reason {
        StopReason::Closed => ApiError::new(Reason::CommitUnknown, message),
        _ => ApiError::new(Reason::StorageStopped, message),
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn too_large(reason: Reason, message: String, size_bytes: u64, size_bytes_max: u64) -> ApiError {
    ApiError::new(reason, message)
        .with(meta::SIZE_BYTES, size_bytes)
        .with(meta::SIZE_BYTES_MAX, size_bytes_max)
}

fn quota(limit: &str, message: String) -> ApiError {
    ApiError::new(Reason::Quota, message).with(meta::LIMIT, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_record::{Compression, Index, ProducerEpoch, ProducerId, Sequence};

    const AT: At<'static> = At { topic: "events", partition: 3 };

    fn damage() -> Damage {
        let (first_index, last_index) = (Index::new(5), None);
        Damage { file: "/data/x.log".into(), position: 4096, first_index, last_index, reason: "torn" }
    }

    fn failed() -> StopReason {
        StopReason::Failed("no".into())
    }

    #[test]
    fn what_the_proposer_refuses_keeps_its_details() {
        let (id, expected, actual) = (ProducerId::new(7), Offset::new(4), Offset::new(9));
        let (found, current) = (ProducerEpoch::new(1), ProducerEpoch::new(2));
        let cases = [
            (ProduceError::ExpectedOffsetMismatch { expected, actual }, Reason::ExpectedOffsetMismatch),
            (ProduceError::Fenced { id, found, current }, Reason::Fenced),
            (
                ProduceError::OutOfOrderSequence { id, expected: Sequence::new(4), found: Sequence::new(9) },
                Reason::OutOfOrderSequence,
            ),
            (ProduceError::UnknownProducer { id }, Reason::UnknownProducer),
            (ProduceError::NotLeader { leader: None }, Reason::NoLeader),
            (ProduceError::NotLeader { leader: Some(NodeId::new(2)) }, Reason::NotLeader),
            (ProduceError::CommitUnknown, Reason::CommitUnknown),
            (ProduceError::TooLarge { size_bytes: 2, max_bytes: 1 }, Reason::BatchTooLarge),
            (ProduceError::Overloaded, Reason::Overloaded),
            (ProduceError::DiskFull, Reason::DiskFull),
            (ProduceError::Damaged(damage()), Reason::DataLoss),
            (ProduceError::Stopped(failed()), Reason::StorageStopped),
            (ProduceError::Stopped(StopReason::Closed), Reason::CommitUnknown),
            (ProduceError::ShuttingDown, Reason::ShuttingDown),
            (ProduceError::Internal("x".to_owned()), Reason::Internal),
        ];
        for (error, reason) in cases {
            let api = produce_error(error, AT);
            assert_eq!(api.reason, reason);
            assert!(api.message.starts_with("topic events partition 3: "), "{api}");
            // What is known must be told; the leader's address and term are not known here.
            let unknown = [meta::LEADER_ADDR, meta::TERM];
            for key in reason.metadata_keys().iter().filter(|key| !unknown.contains(key)) {
                assert!(api.get(key).is_some(), "{reason} lacks {key}");
            }
        }
    }

    #[test]
    fn what_a_read_refuses_keeps_its_details() {
        let (offset, log_start_offset, high_watermark) = (Offset::new(1), Offset::new(10), Offset::new(20));
        let trimmed = read_error(ReadError::Trimmed { offset, log_start_offset, high_watermark }, AT);
        assert_eq!(trimmed.reason, Reason::OffsetTrimmed);
        assert_eq!(trimmed.number(meta::LOG_START_OFFSET), Some(10));
        assert_eq!(trimmed.number(meta::HIGH_WATERMARK), Some(20));
        let beyond = read_error(ReadError::BeyondTail { offset, log_start_offset, high_watermark }, AT);
        assert_eq!(beyond.reason, Reason::OffsetBeyondTail);
        let lost = read_error(ReadError::Damaged(damage()), AT);
        assert_eq!((lost.reason, lost.get(meta::FILE)), (Reason::DataLoss, Some("/data/x.log")));
        assert_eq!(lost.number(meta::POSITION), Some(4096));
        assert_eq!(read_error(ReadError::NotLeader { leader: None }, AT).reason, Reason::NoLeader);
        assert_eq!(read_error(ReadError::Stopped(failed()), AT).reason, Reason::StorageStopped);
        assert_eq!(read_error(ReadError::ShuttingDown, AT).reason, Reason::ShuttingDown);
        let io = ReadError::Io { file: "/data/x.log".into(), reason: "no".to_owned() };
        assert_eq!(read_error(io, AT).reason, Reason::Internal);
    }

    #[test]
    fn batches_are_told_apart_by_what_is_wrong_with_them() {
        let limit = |field| BatchError::OverLimit { field, found: 2, limit: 1 };
        assert_eq!(batch_error(&limit("record size in bytes")).reason, Reason::RecordTooLarge);
        assert_eq!(batch_error(&limit("decompressed size in bytes")).reason, Reason::BatchTooLarge);
        let checksum = BatchError::Checksum { found: 1, computed: 2 };
        assert_eq!(batch_error(&checksum).reason, Reason::InvalidBatch);
        let decompress = BatchError::Decompress { compression: Compression::Zstd };
        assert_eq!(batch_error(&decompress).reason, Reason::InvalidBatch);
    }
}

//! Names of the details that errors carry in the metadata of `google.rpc.ErrorInfo`. Values are text; numbers are decimal.

/// First offset kept.
pub const LOG_START_OFFSET: &str = "log_start_offset";
/// First offset not yet committed.
pub const HIGH_WATERMARK: &str = "high_watermark";
/// Node id of the leader; absent while it is not known.
pub const LEADER_ID: &str = "leader_id";
/// Address of the leader for gRPC, as host:port; absent while it is not known.
pub const LEADER_ADDR: &str = "leader_addr";
/// Term of the leader.
pub const TERM: &str = "term";
/// Offset that the append was conditional on.
pub const EXPECTED_OFFSET: &str = "expected_offset";
/// Offset that the append would have got.
pub const ACTUAL_OFFSET: &str = "actual_offset";
/// Id of the producer.
pub const PRODUCER_ID: &str = "producer_id";
/// Epoch of the producer that is current.
pub const CURRENT_EPOCH: &str = "current_epoch";
/// Sequence that the producer's next batch must begin with.
pub const EXPECTED_SEQUENCE: &str = "expected_sequence";
/// Sequence that the refused batch began with.
pub const ACTUAL_SEQUENCE: &str = "actual_sequence";
/// Who asked.
pub const SUBJECT: &str = "subject";
/// What for.
pub const ACTION: &str = "action";
/// Upon what.
pub const OBJECT: &str = "object";
/// The policy's rule that decided; absent if it was the default, to deny.
pub const RULE: &str = "rule";
/// Size of what was refused, in bytes.
pub const SIZE_BYTES: &str = "size_bytes";
/// Largest size accepted, in bytes.
pub const SIZE_BYTES_MAX: &str = "size_bytes_max";
/// Name of the topic.
pub const TOPIC: &str = "topic";
/// Number of the partition.
pub const PARTITION: &str = "partition";
/// How many partitions the topic has.
pub const PARTITIONS: &str = "partitions";
/// Field of the request that is wrong.
pub const FIELD: &str = "field";
/// Name of the limit that was reached.
pub const LIMIT: &str = "limit";
/// File that is damaged.
pub const FILE: &str = "file";
/// Byte in the file at which the damage begins.
pub const POSITION: &str = "position";
/// The reason as sent, if this version does not know it.
pub const UNKNOWN_REASON: &str = "unknown_reason";
/// Id of the server that is meant.
pub const NODE_ID: &str = "node_id";
/// What stands between client and server, where they come to no TLS.
pub const TLS_PROBLEM: &str = "tls_problem";

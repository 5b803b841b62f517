//! Limits that both sides of the wire know.

/// Largest encoded batch on the wire, in bytes.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest gRPC message that either side sends or takes, in bytes: a batch of the largest size, what a piece of a
/// partition holds besides, and room for the fields around them.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes that a server puts into one piece of a partition unless the first batch alone is larger.
pub const CONSUME_BYTES_MAX: usize = 1024 * 1024;

/// Longest wait for a first record that a Consume may ask for, in milliseconds.
pub const CONSUME_WAIT_MS_MAX: u64 = 60_000;

/// How often a server that is watched for the servers says that it is there, in milliseconds, where there is nothing to tell.
pub const WATCH_HEARTBEAT_MS: u64 = 1000;

/// Shortest interval between heartbeats that a ConsumeStream may ask for, in milliseconds.
pub const HEARTBEAT_MS_MIN: u64 = 100;

/// Longest interval between heartbeats that a ConsumeStream may ask for, in milliseconds.
pub const HEARTBEAT_MS_MAX: u64 = 60_000;

/// Longest name of a producer, in bytes.
pub const PRODUCER_NAME_BYTES_MAX: usize = 249;

/// The newest batches of an idempotent producer that a partition remembers. From its oldest unacknowledged batch on, a
/// producer sends no more than that: then each that is sent again is recognised. As in Kafka.
pub const PRODUCER_BATCHES_MAX: usize = 5;

/// Most topics in one page of a list.
pub const TOPICS_PAGE_MAX: usize = 1000;

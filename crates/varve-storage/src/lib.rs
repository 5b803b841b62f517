//! Segments, frames, indexes, checkpoints and recovery of a partition's log.
//!
//! A [`Storage`] is a data directory: it holds the lock on it, its writers, and what its partitions share. A [`PartitionLog`]
//! is one Raft log in it, which is also the data log: entries are written to disk once. An append returns when the entries
//! can be read by index, and calls back when they are durable. Damage is found by checksums and never served; what cannot
//! be written is never acknowledged. The bytes on disk are described in `docs/disk-format.md`.
//!
//! This crate must never know Raft or the network: what a membership or a command means is its owner's business, and so is
//! what is committed. It asks for files, threads and randomness through `varve-env`.
//!
//! Where to start: `examples/embedded.rs`, then [`PartitionLog`]; inside, `frame` (the bytes), `scan` (what recovery
//! decides) and `log::writer` (what is written when).

mod atomic_file;
mod chain;
mod checkpoint;
mod completion;
mod config;
mod damage;
mod departure;
mod end_state;
mod entry;
mod error;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod listing;
mod log;
mod log_id;
mod lru;
mod open_logs;
mod pool;
mod producers;
mod replay;
mod scan;
mod segment;
mod segment_file;
mod segment_header;
mod shared;
mod sparse_index;
mod storage;
mod tail_cache;
mod verify;
mod votes;
mod window;
mod write_buffer;
mod writer_queue;

pub use config::{
    BODY_BYTES_MAX, PartitionConfig, Retention, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, StorageConfig,
    WRITERS_MAX,
};
pub use damage::Damage;
pub use end_state::{EndState, StoredMembership};
pub use entry::{Entry, EntryKind};
pub use error::{AppendError, FileError, LogError, OpenError, ReadError, StopReason};
pub use listing::list_files;
pub use log::{AppendDone, Appended, LogDone, PartitionLog, SegmentInfo, StoredBatch};
pub use log_id::LogId;
pub use producers::{PRODUCER_BATCHES_MAX, ProducerCheck, ProducerTable};
pub use storage::{QUARANTINED_MAX, Storage, WriteGauge};
pub use verify::{Finding, Severity, Summary, verify};
pub use votes::{Vote, VoteDone, VoteStore};

//! Reading what is committed.

use varve_record::{Offset, Timestamp};
use varve_storage::StoredBatch;

/// How fresh a read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What this replica knows to be committed; it may lag behind.
    #[default]
    Committed,
    /// All that was acknowledged before the read began.
    Linearizable,
}

/// Where a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record kept.
    Earliest,
    /// At an offset.
    Offset(Offset),
    /// At the first record that was appended at or after this time.
    Time(Timestamp),
    /// This many records before the tail, or at the first one kept.
    TailMinus(u64),
    /// Behind the last record.
    Tail,
}

/// What a read gave.
#[derive(Clone, Debug)]
pub struct ReadBatches {
    /// Whole batches in order; the first may begin before the offset that was asked for. None at the tail.
    pub batches: Vec<StoredBatch>,
    /// The first offset that was not committed when the read was made.
    pub high_watermark: Offset,
    /// The first offset kept then.
    pub log_start_offset: Offset,
}

//! How far a partition is.

use varve_record::{NodeId, Offset, Term};

/// How far a partition is, as this replica knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The first offset that is not committed.
    pub high_watermark: Offset,
    /// The first offset that is kept.
    pub log_start_offset: Offset,
    /// Who leads, where it is known.
    pub leader: Option<NodeId>,
    /// The term that this replica is in.
    pub term: Term,
}

//! Members that lack something of a log.

use crate::FollowerState;
use varve_record::{Index, NodeId, Offset, Timestamp};
use varve_storage::PartitionLog;

/// A member that lacks something of the log, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// The member.
    pub node: NodeId,
    /// Committed records that it is not known to have.
    pub offsets: u64,
    /// When the first entry was appended that it is not known to have; `None` where that is purged or cannot be read.
    pub lacks_since: Option<Timestamp>,
}

impl Laggard {
    /// What a member lacks up to `end`. May block.
    pub(crate) fn of(log: &PartitionLog, end: Offset, node: NodeId, state: &FollowerState) -> Self {
        let first = state.matched.map_or(Index::new(0), Index::next);
        let found = log.entries(first, first.next(), 1).ok().and_then(|entries| entries.into_iter().next());
        let from = found.as_ref().map_or(log.log_start_offset(), |entry| entry.base_offset);
        let offsets = end.get().saturating_sub(from.get());
        Self { node, offsets, lacks_since: found.map(|entry| entry.append_time) }
    }
}

//! Members that lack something of a log.

use crate::FollowerState;
use varve_record::{Index, NodeId, Offset, Timestamp};
use varve_storage::PartitionLog;

/// A member that lacks something of the log, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// The member.
    pub node: NodeId,
    /// Entries that it is not known to have.
    pub entries: u64,
    /// Committed records that it is not known to have.
    pub offsets: u64,
    /// When the first record was appended that it is not known to have, as far as that lies near the first entry it lacks;
    /// `None` where that entry is purged or cannot be read.
    pub lacks_since: Option<Timestamp>,
    /// Whether it has answered this leader yet: of one that has not, nothing is known, and it counts as one that has nothing.
    pub has_answered: bool,
}

/// Entries that are looked through for the first one with records: a few without any lie where leaders and members changed.
const LOOKED_THROUGH_MAX: u64 = 16;
const LOOKED_THROUGH_BYTES_MAX: usize = 64 * 1024;

impl Laggard {
    /// What a member lacks up to `end`. May block.
    pub(crate) fn of(log: &PartitionLog, end: Offset, node: NodeId, state: &FollowerState) -> Self {
        let first = state.matched.map_or(Index::new(0), Index::next);
        let until = Index::new(first.get().saturating_add(LOOKED_THROUGH_MAX));
        let found = log.entries(first, until, LOOKED_THROUGH_BYTES_MAX).unwrap_or_default();
        let from = found.first().map_or(log.log_start_offset(), |entry| entry.base_offset);
        let offsets = end.get().saturating_sub(from.get());
        let lacking = found.iter().find(|entry| entry.record_count > 0).or(found.first());
        Self {
            node,
            entries: state.lag_entries,
            offsets,
            lacks_since: lacking.map(|entry| entry.append_time),
            has_answered: state.silent_for.is_some(),
        }
    }
}

//! The durable vote of every group.

use crate::{AppendError, StopReason};
use varve_record::{NodeId, PartitionId, Term};

/// What a node promised in a Raft group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The highest term seen.
    pub term: Term,
    /// Who got this node's vote in it.
    pub voted_for: Option<NodeId>,
    /// Whether that candidate won: its leadership is known.
    pub committed: bool,
}

/// Called when a vote is durable, or never will be.
pub type VoteDone = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// The votes of all groups of a data directory, in one file.
#[derive(Clone, Debug)]
pub struct VoteStore;

impl VoteStore {
    /// The newest vote given to [`VoteStore::save`] for a group; `None` where there was none.
    #[must_use]
    pub fn get(&self, _group: PartitionId) -> Option<Vote> {
        None
    }

    /// Makes a vote durable, then calls `done`. Votes saved at the same time share a sync.
    pub fn save(&self, _group: PartitionId, _vote: Vote, done: VoteDone) {
        done(Err(AppendError::StorageStopped(StopReason::Closed)));
    }
}

//! Who belongs to a group.

use std::collections::BTreeSet;
use std::time::Duration;
use varve_record::{Index, NodeId};

/// Who belongs to a group, as its newest membership says, committed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMembers {
    /// Who votes; while the voters change, those of before and of after.
    pub voters: BTreeSet<NodeId>,
    /// Who has the log, and no vote.
    pub learners: BTreeSet<NodeId>,
    /// Whether the voters are changing.
    pub changing: bool,
    /// Whether this membership is known to be committed: only then is it certain to stay until the next change.
    pub committed: bool,
}

/// What a group's leader knows of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// The last entry that it is known to have durably.
    pub matched: Option<Index>,
    /// Entries of the leader's log that it is not known to have.
    pub lag_entries: u64,
    /// How long ago what it has answered last was sent; `None` where it has not answered this leader yet.
    pub silent_for: Option<Duration>,
}

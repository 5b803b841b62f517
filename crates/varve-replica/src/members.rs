//! Who belongs to a group.

use std::collections::BTreeSet;
use varve_record::NodeId;

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

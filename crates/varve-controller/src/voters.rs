//! Who votes in the controller's group.

use crate::{Liveness, Metadata};
use std::collections::BTreeSet;
use varve_record::NodeId;

/// The voters that the controller's group shall have in place of `current`; nothing where there is nothing to change, or
/// where no majority of them runs.
#[must_use]
pub fn controller_voters(
    _metadata: &Metadata,
    _liveness: &Liveness,
    _current: &BTreeSet<NodeId>,
) -> Option<BTreeSet<NodeId>> {
    None
}

//! What is to be done about the nodes and where replicas are.

use crate::{Command, Liveness, Metadata};
use std::collections::BTreeSet;
use varve_record::NodeId;

/// The commands that bring the cluster nearer to what is wanted; `voters` are those of the controller's own group.
#[must_use]
pub fn plan(_metadata: &Metadata, _liveness: &Liveness, _voters: &BTreeSet<NodeId>) -> Vec<Command> {
    Vec::new()
}

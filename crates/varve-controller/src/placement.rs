//! Where a partition's replicas are.

use crate::{Leading, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use varve_record::{NodeId, Term};

/// Where a partition's replicas are, and where they shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The voters that the partition's group begins with. Empty once a change of its members was settled: the group lives
    /// then, and a node that begins with an empty disk must learn from it. Were it to begin as a voter of the first hour,
    /// nodes that had left and came back could elect one of themselves over an empty log.
    #[serde(with = "number::list")]
    pub initial: Vec<NodeId>,
    /// The replicas that are wanted, the preferred leader first.
    #[serde(with = "number::list")]
    pub replicas: Vec<NodeId>,
    /// Nodes that had a replica before and are not known to be out of the group.
    #[serde(default, with = "number::list", skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<NodeId>,
    /// Counts the changes of `replicas`.
    pub generation: u64,
    /// The last generation that the group's members were reported to be equal to.
    pub settled: u64,
    /// Who leads, as far as was reported: a hint.
    #[serde(default, with = "number::option", skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// The term of the last leader that was reported.
    #[serde(with = "number")]
    pub term: Term,
    /// Nodes whose copy was reported to be damaged.
    #[serde(default, with = "number::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub damaged: BTreeSet<NodeId>,
}

impl Placement {
    /// The placement of a new group.
    pub(crate) fn new(replicas: Vec<NodeId>) -> Self {
        Self { initial: replicas.clone(), replicas, ..Self::default() }
    }

    /// Whether a node has a replica, or has one that is not known to be out of the group: it keeps the partition's files.
    #[must_use]
    pub fn hosts(&self, node: NodeId) -> bool {
        self.replicas.contains(&node) || self.leaving.contains(&node)
    }

    /// Every node that keeps the partition's files.
    pub fn hosting(&self) -> impl Iterator<Item = NodeId> {
        self.replicas.iter().chain(&self.leaving).copied()
    }

    /// Whether the group's members are known to be the wanted replicas.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled == self.generation && self.leaving.is_empty()
    }

    /// The node that shall lead.
    #[must_use]
    pub fn preferred_leader(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }

    /// Whether a leader is of a newer term than the last one that is known.
    pub(crate) fn is_led_anew(&self, leading: &Leading) -> bool {
        leading.term > self.term || leading.term == self.term && self.leader.is_none()
    }

    /// Whether a leader says what is not known yet: that the members are the wanted replicas. A leader of an older term than
    /// one that is known may say what was true once, and is not believed.
    pub(crate) fn is_settled_by(&self, leading: &Leading) -> bool {
        let awaited = !self.is_settled() || !self.initial.is_empty();
        awaited && leading.term >= self.term && leading.settled == Some(self.generation)
    }

    /// Wants other replicas.
    pub(crate) fn replace(&mut self, replicas: &[NodeId]) {
        let before = std::mem::replace(&mut self.replicas, replicas.to_vec());
        self.leaving.retain(|node| !replicas.contains(node));
        self.leaving.extend(before.into_iter().filter(|node| !replicas.contains(node)));
        self.generation += 1;
    }

    /// The group's members are the wanted replicas.
    pub(crate) fn settle(&mut self) {
        self.settled = self.generation;
        self.initial.clear();
        self.leaving.clear();
        self.damaged.retain(|node| self.replicas.contains(node));
        self.leader = self.leader.filter(|leader| self.replicas.contains(leader));
    }
}

//! Replicas on nodes that cannot keep them.

use super::round::{Part, Round, swapped};
use crate::NodeState;
use crate::spread::replicas_wanted;
use varve_record::NodeId;

/// Why a replica has to go, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Its disk is gone.
    Lost,
    /// Its copy is damaged.
    Damaged,
    /// Its node has not run for long. It may come back, so it goes only where another node takes its place.
    Gone,
    /// Its node is draining.
    Draining,
}

impl Round<'_> {
    pub(super) fn repair(&mut self) {
        self.place_each(Self::repaired);
    }

    fn repaired(&self, part: &Part<'_>) -> Option<Vec<NodeId>> {
        let mut faults: Vec<(Fault, NodeId)> = Vec::new();
        faults.extend(part.placement.replicas.iter().filter_map(|id| Some((self.fault(part, *id)?, *id))));
        if faults.is_empty() || !self.may_change(part, &faults) {
            return None;
        }
        faults.sort_unstable();
        let before = &part.placement.replicas;
        // A change under way has its members still to come: each that cannot come is replaced.
        let out_max = if part.placement.is_settled() { out_max(before.len()) } else { faults.len() };
        let mut replicas = before.clone();
        for (fault, id) in faults.into_iter().take(out_max) {
            let fit = |other| !before.contains(&other) && !part.placement.damaged.contains(&other);
            let kept: Vec<NodeId> = replicas.iter().copied().filter(|other| *other != id).collect();
            let other = self.seats.pick(part.id, &kept, &part.placement.leaving, fit);
            match other.or_else(|| self.way_back(part, &kept)) {
                Some(other) => replicas = swapped(&replicas, id, other),
                None if self.may_drop(part, fault, id, &kept) => replicas = kept,
                None => {}
            }
        }
        let better = replicas != *before && self.has_quorum(part, &replicas);
        better.then_some(replicas)
    }

    fn fault(&self, part: &Part<'_>, id: NodeId) -> Option<Fault> {
        let gone = self.seats.get(id).is_none_or(|seat| seat.gone);
        match self.seats.state(id) {
            NodeState::Lost => Some(Fault::Lost),
            _ if part.placement.damaged.contains(&id) => Some(Fault::Damaged),
            // Whoever is to be taken away, and is away, is not waited for.
            NodeState::Draining if gone => Some(Fault::Lost),
            _ if gone => Some(Fault::Gone),
            NodeState::Draining => Some(Fault::Draining),
            NodeState::Active => None,
        }
    }

    /// Whether the group can change its members. While a change is under way nobody outside knows who they are; as long as
    /// somebody leads it may be led elsewhere, which is called for only where it waits for a replica that will not come.
    fn may_change(&self, part: &Part<'_>, faults: &[(Fault, NodeId)]) -> bool {
        let placement = part.placement;
        if placement.is_settled() {
            return self.has_quorum(part, &placement.replicas);
        }
        let leader = placement.leader.filter(|leader| placement.hosts(*leader));
        let is_led = leader.is_some_and(|leader| self.is_sound(part, leader));
        is_led && faults.iter().any(|(fault, _)| *fault != Fault::Draining)
    }

    /// A node that shall lose its replica and is a member still: better than to wait for one that will not come.
    fn way_back(&self, part: &Part<'_>, kept: &[NodeId]) -> Option<NodeId> {
        let mut leaving = part.placement.leaving.iter().copied();
        leaving.find(|id| !kept.contains(id) && self.is_sound(part, *id))
    }

    /// Whether a replica may go without another in its place. A damaged one may: its node gets a new one once the group has
    /// let go of it. One on a node that is draining or lost may where the cluster has no other node for it.
    fn may_drop(&self, part: &Part<'_>, fault: Fault, id: NodeId, kept: &[NodeId]) -> bool {
        if kept.is_empty() {
            return false;
        }
        let enough = kept.len() >= replicas_wanted(part.factor, self.seats.present(&part.placement.damaged));
        match fault {
            Fault::Damaged => true,
            Fault::Gone => enough && self.seats.state(id) == NodeState::Draining,
            Fault::Lost | Fault::Draining => enough,
        }
    }
}

/// Replicas that one change may take out: as many as the group can lose, and at least one.
fn out_max(replicas: usize) -> usize {
    (replicas.saturating_sub(1) / 2).max(1)
}

//! Who votes in the controller's group.

use crate::limits::CONTROLLER_VOTERS_MAX;
use crate::spread::odd;
use crate::{Liveness, Metadata, Node};
use std::collections::BTreeSet;
use varve_record::NodeId;

/// The voters that the controller's group shall have in place of `current`: 1, 3 or 5 active nodes, spread over racks. Nothing
/// where there is nothing to change, where no majority of the current ones runs, or where it is better to wait.
///
/// Those who vote stay as long as they can: seats of nodes that are draining, lost or removed go to others that run, and so do
/// those of nodes that are gone, as far as there are others. Seats are added two at a time.
#[must_use]
pub fn controller_voters(
    metadata: &Metadata,
    liveness: &Liveness,
    current: &BTreeSet<NodeId>,
) -> Option<BTreeSet<NodeId>> {
    let election = Election { metadata, liveness, current };
    if !election.has_quorum(current) {
        return None;
    }
    let voters = election.voters()?;
    (voters != *current && election.has_quorum(&voters)).then_some(voters)
}

/// How many voters the controller's group should have at least, with the nodes that run now.
#[must_use]
pub fn controller_voters_wanted(metadata: &Metadata, liveness: &Liveness) -> usize {
    let runs = |node: &&Node| node.is_active() && liveness.is_alive(node.id);
    let nodes = metadata.nodes().filter(runs).count();
    if nodes == 0 { 0 } else { odd(nodes.min(CONTROLLER_VOTERS_MAX)) }
}

struct Election<'a> {
    metadata: &'a Metadata,
    liveness: &'a Liveness,
    current: &'a BTreeSet<NodeId>,
}

impl Election<'_> {
    fn voters(&self) -> Option<BTreeSet<NodeId>> {
        let mut voters: BTreeSet<NodeId> =
            self.current.iter().copied().filter(|id| self.is_active(*id)).collect();
        self.replace_gone(&mut voters);
        let size = self.size(&voters);
        while voters.len() < size {
            match self.best(&voters) {
                Some(more) => voters.insert(more),
                None => break,
            };
        }
        if voters.len().is_multiple_of(2) {
            self.even_out(&mut voters)?;
        }
        Some(voters)
    }

    fn replace_gone(&self, voters: &mut BTreeSet<NodeId>) {
        for id in self.current.iter().filter(|id| self.liveness.is_gone(**id)) {
            if !voters.remove(id) {
                continue;
            }
            let other = self.best(voters);
            voters.insert(other.unwrap_or(*id));
        }
    }

    /// An odd number of the nodes that are there, or may be before long.
    fn size(&self, voters: &BTreeSet<NodeId>) -> usize {
        let counts = |node: &&Node| !self.liveness.is_gone(node.id) || voters.contains(&node.id);
        let nodes = self.metadata.nodes().filter(|node| node.is_active()).filter(counts).count();
        if nodes == 0 { 0 } else { odd(nodes.min(CONTROLLER_VOTERS_MAX)) }
    }

    /// The best node for another seat: one that runs, in a rack with few voters.
    fn best(&self, voters: &BTreeSet<NodeId>) -> Option<NodeId> {
        let runs = |node: &&Node| node.is_active() && self.liveness.is_alive(node.id);
        let free = self.metadata.nodes().filter(runs).filter(|node| !voters.contains(&node.id));
        let best =
            free.min_by_key(|node| (!self.current.contains(&node.id), self.in_rack(node, voters), node.id));
        best.map(|node| node.id)
    }

    /// Makes an even number odd by giving up a seat, unless a node is about to come that can take another.
    fn even_out(&self, voters: &mut BTreeSet<NodeId>) -> Option<()> {
        let newcomer = voters.iter().any(|id| !self.current.contains(id));
        if !newcomer && self.is_awaited(voters) {
            return None;
        }
        let out = voters.iter().copied().max_by_key(|id| {
            let in_rack = self.metadata.node(*id).map_or(0, |node| self.in_rack(node, voters));
            let idle = !self.liveness.is_alive(*id);
            (self.liveness.is_gone(*id), !self.current.contains(id), idle, in_rack, *id)
        })?;
        voters.remove(&out);
        (!voters.is_empty()).then_some(())
    }

    /// Whether a node may run before long that could take a seat.
    fn is_awaited(&self, voters: &BTreeSet<NodeId>) -> bool {
        let idle = |node: &Node| !self.liveness.is_alive(node.id) && !self.liveness.is_gone(node.id);
        let mut free = self.metadata.nodes().filter(|node| !voters.contains(&node.id));
        free.any(|node| node.is_active() && idle(node))
    }

    fn in_rack(&self, node: &Node, voters: &BTreeSet<NodeId>) -> usize {
        let others = voters.iter().filter_map(|id| self.metadata.node(*id));
        others.filter(|other| other.rack == node.rack).count()
    }

    fn is_active(&self, id: NodeId) -> bool {
        self.metadata.node(id).is_some_and(Node::is_active)
    }

    fn has_quorum(&self, voters: &BTreeSet<NodeId>) -> bool {
        let lost = |id: NodeId| self.metadata.node(id).is_none_or(Node::is_lost);
        let run = voters.iter().filter(|id| self.liveness.is_alive(**id) && !lost(**id)).count();
        run * 2 > voters.len()
    }
}

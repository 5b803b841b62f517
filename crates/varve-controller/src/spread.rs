//! Where the replicas of new partitions go.

use crate::limits::REPLICATION_FACTOR_MAX;
use crate::nodes::Nodes;
use crate::placements::{Load, Placements};
use crate::{Node, Placement};
use std::collections::BTreeSet;
use varve_record::{NodeId, PartitionId};

/// Replicas that a partition gets which wants `factor` of them, where `nodes` can take one. A factor that cannot be met is
/// made odd: a fourth replica lets no more nodes fail than three do, and a second one none at all.
#[must_use]
pub(crate) fn replicas_wanted(factor: u32, nodes: usize) -> usize {
    let factor = usize::try_from(factor.min(REPLICATION_FACTOR_MAX)).unwrap_or(usize::MAX);
    match factor.min(nodes) {
        met if met == factor => met,
        0 => 0,
        fewer => odd(fewer),
    }
}

/// The largest odd number up to `count`, which is not 0.
pub(crate) fn odd(count: usize) -> usize {
    count - usize::from(count.is_multiple_of(2))
}

/// Spreads the new partitions of a topic over the nodes.
#[derive(Debug)]
pub(crate) struct Spread<'a> {
    candidates: Vec<Candidate<'a>>,
    alive: usize,
}

#[derive(Debug)]
struct Candidate<'a> {
    node: &'a Node,
    alive: bool,
    of_topic: Load,
    total: Load,
}

impl<'a> Spread<'a> {
    /// Over the active nodes; those `alive` come first, where an empty list says all.
    pub(crate) fn new(nodes: &'a Nodes, placements: &Placements, alive: &[NodeId]) -> Self {
        let alive: BTreeSet<NodeId> = alive.iter().copied().collect();
        let candidates = nodes.active().map(|node| Candidate {
            node,
            alive: alive.is_empty() || alive.contains(&node.id),
            of_topic: Load::default(),
            total: placements.load(node.id),
        });
        let candidates: Vec<_> = candidates.collect();
        // Hints that name nobody who could take a replica say nothing.
        let alive = match candidates.iter().filter(|candidate| candidate.alive).count() {
            0 => candidates.len(),
            some => some,
        };
        Self { candidates, alive }
    }

    /// Counts a partition that the topic has already.
    pub(crate) fn count(&mut self, placement: &Placement) {
        for candidate in &mut self.candidates {
            let id = candidate.node.id;
            candidate.of_topic.replicas += usize::from(placement.replicas.contains(&id));
            candidate.of_topic.preferred += usize::from(placement.preferred_leader() == Some(id));
        }
    }

    /// The replicas of a new partition, the preferred leader first.
    ///
    /// They are spread over racks first, then evenly within the topic, then over all nodes; what is left equal is decided by
    /// the partition's number, so that partitions do not share their nodes with always the same others.
    pub(crate) fn place(&mut self, id: PartitionId, factor: u32) -> Vec<NodeId> {
        let mut chosen: Vec<usize> = Vec::new();
        for _ in 0..self.size(factor) {
            let free = (0..self.candidates.len()).filter(|place| !chosen.contains(place));
            chosen.extend(free.min_by_key(|place| self.replica_key(id, &chosen, *place)));
        }
        if let Some(leader) = (0..chosen.len()).min_by_key(|place| self.leader_key(chosen[*place])) {
            chosen.swap(0, leader);
        }
        for (place, chosen) in chosen.iter().enumerate() {
            let candidate = &mut self.candidates[*chosen];
            for load in [&mut candidate.of_topic, &mut candidate.total] {
                load.replicas += 1;
                load.preferred += usize::from(place == 0);
            }
        }
        chosen.into_iter().map(|place| self.candidates[place].node.id).collect()
    }

    /// As many as are wanted, but so few that those alive are a majority: the group must be able to begin.
    fn size(&self, factor: u32) -> usize {
        let wanted = replicas_wanted(factor, self.candidates.len());
        if wanted < 2 * self.alive { wanted } else { 2 * self.alive - usize::from(self.alive > 0) }
    }

    fn replica_key(&self, id: PartitionId, chosen: &[usize], place: usize) -> impl Ord + use<> {
        let candidate = &self.candidates[place];
        let rack = &candidate.node.rack;
        let in_rack = chosen.iter().filter(|chosen| self.candidates[**chosen].node.rack == *rack).count();
        let turn = rotated(id, place, self.candidates.len());
        (!candidate.alive, in_rack, candidate.of_topic.replicas, candidate.total.replicas, turn)
    }

    fn leader_key(&self, place: usize) -> impl Ord + use<> {
        let candidate = &self.candidates[place];
        (!candidate.alive, candidate.of_topic.preferred, candidate.total.preferred)
    }
}

/// The place of a candidate where each partition begins to count at another one.
pub(crate) fn rotated(id: PartitionId, place: usize, places: usize) -> usize {
    let places = places.max(1);
    let start = usize::try_from(id.get() % places as u64).unwrap_or(0);
    (place + places - start) % places
}

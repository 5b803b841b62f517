//! What must hold of a cluster that has come to rest with all its nodes running.

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use varve_controller::{NodeState, Placement};
use varve_record::{NodeId, PartitionId};

/// As the planner's own.
fn slack(mean: usize, least: usize) -> usize {
    (mean / 20).max(least)
}

impl World {
    /// Checks a cluster at rest. Groups that lost their quorum for good are left alone, as they must be.
    pub(crate) fn check_rest(&self) {
        assert_eq!(self.plan(), [], "not at rest");
        let mut all_well = true;
        for (id, placement) in self.metadata.placements() {
            assert!(!self.metadata.was_deleted(id));
            let Some(group) = self.groups.get(&id) else { continue };
            if self.has_quorum(id, &group.members) {
                self.check_partition(id, placement);
            } else {
                all_well = false;
            }
        }
        self.check_nodes(all_well);
        if all_well {
            self.check_balance();
        }
    }

    fn check_partition(&self, id: PartitionId, placement: &Placement) {
        assert!(placement.is_settled(), "{id}: {placement:?}");
        assert!(placement.initial.is_empty(), "{id}: a node that comes back could begin the group anew");
        let members: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        assert_eq!(members, self.groups[&id].members, "{id}");
        assert_eq!(members.len(), placement.replicas.len(), "{id}: a node twice");
        for node in &placement.replicas {
            let state = self.metadata.node(*node).unwrap().state;
            assert_eq!(state, NodeState::Active, "{id} is still on {node}");
        }
        let wanted = wanted(self.factor(id), self.active().len());
        assert!(placement.replicas.len() >= wanted, "{id} has too few: {placement:?}");
        assert!(placement.replicas.len() <= self.factor(id), "{id} has too many: {placement:?}");
        if placement.replicas.len() > 1 {
            assert!(placement.damaged.is_empty(), "{id} is still damaged: {placement:?}");
        }
        self.check_racks(id, placement);
    }

    /// No replica could go to another node and leave the partition spread over racks better.
    fn check_racks(&self, id: PartitionId, placement: &Placement) {
        let before = self.rack_score(&placement.replicas);
        if !placement.damaged.is_empty() {
            return;
        }
        for place in 0..placement.replicas.len() {
            for node in self.active().difference(&placement.replicas.iter().copied().collect()) {
                let mut other = placement.replicas.clone();
                other[place] = *node;
                assert!(self.rack_score(&other) >= before, "{id}: {other:?} is better than {placement:?}");
            }
        }
    }

    fn check_nodes(&self, all_well: bool) {
        for node in self.metadata.nodes().filter(|node| !node.is_active()) {
            let holds = self.metadata.hosted_by(node.id).count();
            assert!(!all_well || self.voters.contains(&node.id), "{node:?} holds {holds} and is still there");
        }
        for (topic, described) in self.metadata.topics() {
            for (number, id) in (0..).zip(&described.partitions) {
                assert_eq!(self.metadata.partition_name(*id), Some((topic, number)));
            }
        }
    }

    /// Loads differ by no more than the slack, as far as racks do not forbid it.
    fn check_balance(&self) {
        if self.active().is_empty()
            || self.metadata.placements().any(|(_, placement)| !placement.damaged.is_empty())
        {
            return;
        }
        let (replicas, leaders) = (self.loads(|p| p.replicas.len()), self.loads(|_| 1));
        let (most, least) = (replicas.values().max().unwrap(), replicas.values().min().unwrap());
        let mean = replicas.values().sum::<usize>() / replicas.len();
        if self.racks().len() == 1 {
            assert!(most - least <= slack(mean, 2), "{replicas:?}");
        }
        let mean = leaders.values().sum::<usize>() / leaders.len();
        for (id, placement) in self.metadata.placements() {
            for node in &placement.replicas {
                let (leads, could) = (leaders[&placement.replicas[0]], leaders[node]);
                assert!(leads <= could + slack(mean, 1), "{id} could be led elsewhere: {leaders:?}");
            }
        }
    }

    /// What each active node has of the first `of` replicas of every partition.
    pub(crate) fn loads(&self, of: impl Fn(&Placement) -> usize) -> BTreeMap<NodeId, usize> {
        let mut loads: BTreeMap<_, _> = self.active().into_iter().map(|id| (id, 0)).collect();
        for (_, placement) in self.metadata.placements() {
            for node in placement.replicas.iter().take(of(placement)) {
                *loads.entry(*node).or_default() += 1;
            }
        }
        loads
    }

    pub(crate) fn active(&self) -> BTreeSet<NodeId> {
        self.metadata.nodes().filter(|node| node.is_active()).map(|node| node.id).collect()
    }

    fn racks(&self) -> BTreeSet<&str> {
        self.metadata.nodes().filter(|node| node.is_active()).map(|node| node.rack.as_str()).collect()
    }

    fn factor(&self, id: PartitionId) -> usize {
        let (topic, _) = self.metadata.partition_name(id).unwrap();
        self.metadata.topic(topic).unwrap().replication_factor as usize
    }

    /// The sum of the squares of the racks' shares.
    pub(crate) fn rack_score(&self, replicas: &[NodeId]) -> usize {
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for node in replicas {
            *shares.entry(&self.metadata.node(*node).unwrap().rack).or_default() += 1;
        }
        shares.values().map(|share| share * share).sum()
    }
}

/// Replicas that a partition shall have: the factor, or the next smaller odd number that the nodes allow.
pub(crate) fn wanted(factor: usize, nodes: usize) -> usize {
    // Topics from before there was a limit may want more.
    let factor = factor.min(7);
    if nodes >= factor { factor } else { nodes - usize::from(nodes.is_multiple_of(2)) }
}

//! How the cluster is.

use crate::limits::{HEALTH_LISTED_MAX, REPLICATION_FACTOR_MAX};
use crate::spread::replicas_wanted;
use crate::{Liveness, Metadata, NodeState, Placement};
use std::collections::BTreeMap;
use varve_record::{NodeId, PartitionId};

/// How the cluster is, as far as its metadata and gossip say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Nodes that are in the cluster and not lost.
    pub nodes: usize,
    /// Those of them that do not run.
    pub failed: Vec<NodeId>,
    /// Nodes whose replicas move away.
    pub draining: Vec<NodeId>,
    /// Nodes that never come back and still hold replicas.
    pub lost: Vec<NodeId>,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Those that nobody leads who runs.
    pub leaderless: Listed,
    /// Those with fewer sound replicas on nodes that run than their topic wants and the cluster's size allows.
    pub under_replicated: Listed,
    /// Those whose members are changing.
    pub moving: Listed,
    /// Those with a damaged replica.
    pub damaged: Listed,
    /// Replicas that are damaged.
    pub damaged_replicas: usize,
    /// Those with fewer replicas than their topic asks for, because the cluster has no more nodes for them. Not a fault.
    pub short: Listed,
}

/// Partitions: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// All of them.
    pub count: usize,
    /// The first, [`HEALTH_LISTED_MAX`] at most.
    pub first: Vec<PartitionId>,
}

impl Listed {
    fn add(&mut self, id: PartitionId) {
        self.count += 1;
        if self.first.len() < HEALTH_LISTED_MAX {
            self.first.push(id);
        }
    }
}

impl Health {
    /// Whether every partition can be read and written with all the copies that it shall have, and no node is missing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let lists = [&self.leaderless, &self.under_replicated, &self.damaged];
        self.failed.is_empty() && self.lost.is_empty() && lists.iter().all(|list| list.count == 0)
    }
}

impl Metadata {
    /// How the cluster is.
    #[must_use]
    pub fn health(&self, liveness: &Liveness) -> Health {
        let mut health = Health { partitions: self.partition_count(), ..Health::default() };
        for node in self.nodes() {
            match node.state {
                NodeState::Lost => health.lost.push(node.id),
                NodeState::Draining => health.draining.push(node.id),
                NodeState::Active => {}
            }
            if !node.is_lost() {
                health.nodes += 1;
                health.failed.extend((!liveness.is_alive(node.id)).then_some(node.id));
            }
        }
        let active = self.nodes().filter(|node| node.is_active()).count();
        for (_, topic) in self.topics() {
            let asked = topic.replication_factor as usize;
            if replicas_wanted(topic.replication_factor, active) < asked.min(REPLICATION_FACTOR_MAX as usize)
            {
                topic.partitions.iter().for_each(|id| health.short.add(*id));
            }
        }
        let wanted = self.wanted_replicas();
        for (id, placement) in self.placements() {
            let wanted = wanted.get(&id).copied().unwrap_or_default();
            self.judge(id, placement, wanted, liveness, &mut health);
        }
        health
    }

    /// The replicas that each partition shall have in a cluster of this size.
    pub(crate) fn wanted_replicas(&self) -> BTreeMap<PartitionId, usize> {
        let active = self.nodes().filter(|node| node.is_active()).count();
        let mut wanted = BTreeMap::new();
        for (_, topic) in self.topics() {
            let each = replicas_wanted(topic.replication_factor, active);
            wanted.extend(topic.partitions.iter().map(|id| (*id, each)));
        }
        wanted
    }

    fn judge(
        &self,
        id: PartitionId,
        placement: &Placement,
        wanted: usize,
        liveness: &Liveness,
        health: &mut Health,
    ) {
        let runs = |node: &NodeId| liveness.is_alive(*node) && self.node(*node).is_some_and(|n| !n.is_lost());
        let sound = |node: &&NodeId| runs(node) && !placement.damaged.contains(node);
        if !placement.leader.as_ref().is_some_and(runs) {
            health.leaderless.add(id);
        }
        if placement.replicas.iter().filter(sound).count() < wanted {
            health.under_replicated.add(id);
        }
        if !placement.is_settled() {
            health.moving.add(id);
        }
        health.damaged_replicas += placement.damaged.len();
        if !placement.damaged.is_empty() {
            health.damaged.add(id);
        }
    }
}

//! The cluster, as this node knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use varve_api::error::{ApiError, Reason, meta};
use varve_api::v1;
use varve_controller::{COMMANDS_KNOWN, Liveness, Metadata, Node, NodeState};
use varve_record::{NodeId, PartitionId};

use super::{AddressBook, Presence};
use crate::NodeIdentity;
use crate::topics::{MetadataLog, MetadataMachine};

/// The cluster, as this node knows it. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct ClusterView {
    pub(crate) identity: NodeIdentity,
    pub(crate) metadata: MetadataLog,
    pub(crate) presence: Presence,
    pub(crate) addresses: AddressBook,
}

impl ClusterView {
    /// This node.
    pub(crate) fn this(&self) -> NodeId {
        self.identity.node_id
    }

    /// The metadata as they are known here.
    pub(crate) fn state(&self) -> Arc<MetadataMachine> {
        self.metadata.state()
    }

    /// The nodes that are alive, this one included. Where nobody can say, all of them.
    pub(crate) fn alive(&self) -> BTreeSet<NodeId> {
        let known = self.presence.alive(&self.identity.cluster_id);
        let mut alive = known.unwrap_or_else(|| self.state().0.nodes().map(|node| node.id).collect());
        alive.insert(self.this());
        alive
    }

    /// Whether every node knows the commands by which names of producers get owners. They are not written before: a node of the version
    /// before would stop at them. Once they were written, it has.
    pub(crate) fn all_know_owners(&self) -> bool {
        let state = self.state();
        if state.0.producers_are_owned() {
            return true;
        }
        let Some(knowing) = self.presence.knowing(&self.identity.cluster_id, COMMANDS_KNOWN) else {
            return true;
        };
        let mut nodes = state.0.nodes().filter(|node| !node.is_lost()).map(|node| node.id);
        nodes.all(|node| node == self.this() || knowing.contains(&node))
    }

    /// Who is alive, with nobody gone for good.
    pub(crate) fn liveness(&self) -> Liveness {
        Liveness { alive: self.alive(), gone: BTreeSet::new() }
    }

    /// Who leads a partition that may be elsewhere, as far as the metadata know. Nobody, where gossip says that it has failed:
    /// whoever leads next reports it.
    pub(crate) fn leader_hint(&self, partition: PartitionId) -> Option<NodeId> {
        let leader = self.state().0.placement(partition)?.leader?;
        self.is_alive(leader).then_some(leader)
    }

    /// Whether a node is alive. Where nobody can say, it is.
    fn is_alive(&self, node: NodeId) -> bool {
        let known = self.presence.alive(&self.identity.cluster_id);
        node == self.this() || known.is_none_or(|alive| alive.contains(&node))
    }

    /// The controller's leader; nobody, where it has said nothing for an election timeout.
    pub(crate) fn controller_leader(&self) -> Option<NodeId> {
        self.metadata.progress().leader
    }

    /// The members of the cluster, as clients are told.
    pub(crate) fn servers(&self) -> v1::GetServersResponse {
        let state = self.state();
        let (alive, leader) = (self.alive(), self.controller_leader());
        let voters = self.metadata.members().voters;
        let loads = loads(&state.0, &alive);
        let server = |node: &Node| {
            let load = loads.get(&node.id).copied().unwrap_or_default();
            v1::Server {
                id: node.id.get(),
                name: node.name.clone(),
                rpc_addr: self.addresses.rpc_addr(node.id).unwrap_or_else(|| node.rpc_addr.clone()),
                is_leader: leader == Some(node.id),
                rack: node.rack.clone(),
                state: server_state(node.state).into(),
                alive: alive.contains(&node.id),
                controller_voter: voters.contains(&node.id),
                replicas: load.replicas,
                leaders: load.leaders,
                gossip_addr: node.gossip_addr.clone(),
            }
        };
        let servers = state.0.nodes().map(server).collect();
        v1::GetServersResponse {
            servers,
            cluster_id: self.identity.cluster_id.clone(),
            last_server_id: state.0.last_node_id().map_or(0, NodeId::get),
            server_id: self.this().get(),
        }
    }

    /// Adds to the refusal of a node that does not lead where the leader is.
    pub(crate) fn with_leader_addr(&self, error: ApiError) -> ApiError {
        if error.reason != Reason::NotLeader || error.get(meta::LEADER_ADDR).is_some() {
            return error;
        }
        let leader = error.number(meta::LEADER_ID).map(NodeId::new);
        match leader.and_then(|leader| self.addresses.rpc_addr(leader)) {
            Some(addr) => error.with(meta::LEADER_ADDR, addr),
            None => error,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    replicas: u32,
    leaders: u32,
}

/// What each node has. Who is not alive leads nothing, whatever was reported last.
fn loads(metadata: &Metadata, alive: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Load> {
    let mut loads: BTreeMap<NodeId, Load> = BTreeMap::new();
    for (_, placement) in metadata.placements() {
        for node in placement.replicas.iter().chain(&placement.leaving) {
            loads.entry(*node).or_default().replicas += 1;
        }
        if let Some(leader) = placement.leader.filter(|leader| alive.contains(leader)) {
            loads.entry(leader).or_default().leaders += 1;
        }
    }
    loads
}

fn server_state(state: NodeState) -> v1::ServerState {
    match state {
        NodeState::Active => v1::ServerState::Active,
        NodeState::Draining => v1::ServerState::Draining,
        NodeState::Lost => v1::ServerState::Lost,
    }
}

//! A node of the cluster.

use crate::number;
use serde::{Deserialize, Serialize};
use varve_record::NodeId;

/// A node that the cluster knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, from 1 up, never given to another.
    #[serde(with = "number")]
    pub id: NodeId,
    /// Its name, which no other node has that is not lost.
    pub name: String,
    /// Where clients and peers reach it, as `host:port`.
    pub rpc_addr: String,
    /// Where gossip reaches it, as `host:port`.
    pub gossip_addr: String,
    /// What it fails together with; empty where nobody said. All nodes without a rack count as one rack.
    pub rack: String,
    /// What the cluster wants of it.
    pub state: NodeState,
}

/// What the cluster wants of a node. Whether it runs is another question: see [`crate::Liveness`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It takes replicas.
    Active,
    /// Its replicas move away; then it is removed.
    Draining,
    /// Its disk is gone, and it never comes back: its name was registered again by a node with an empty disk, or an operator
    /// said so.
    Lost,
}

impl Node {
    /// Whether new replicas may be put on it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == NodeState::Active
    }

    /// Whether it never comes back.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.state == NodeState::Lost
    }
}

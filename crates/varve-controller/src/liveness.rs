//! Who runs, as far as gossip knows.

use std::collections::BTreeSet;
use varve_record::NodeId;

/// Who runs, as far as gossip knows: a hint, from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// Nodes that run.
    pub alive: BTreeSet<NodeId>,
    /// Nodes that have not run for longer than the delay after which a failed node is replaced.
    pub gone: BTreeSet<NodeId>,
}

impl Liveness {
    /// Whether a node runs.
    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.alive.contains(&node)
    }

    /// Whether a node has failed for so long that it is replaced.
    #[must_use]
    pub fn is_gone(&self, node: NodeId) -> bool {
        self.gone.contains(&node) && !self.is_alive(node)
    }
}

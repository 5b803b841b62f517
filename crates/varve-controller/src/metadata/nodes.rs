//! Commands that change nodes.

use crate::command::{Applied, Response};
use crate::nodes::Site;
use crate::{Metadata, MetadataError, Node, Placement};
use std::sync::Arc;
use varve_record::{NodeId, PartitionId};

impl Metadata {
    pub(super) fn register_node(&mut self, name: &str, site: Site<'_>) -> Applied {
        let first = self.nodes.is_untouched();
        let node = Arc::make_mut(&mut self.nodes).register(name, site)?;
        if first {
            self.adopt(node.id);
        }
        self.changed(Response::Node(node))
    }

    /// Gives the partitions from before there were nodes to the first one: only the node that kept this log alone can hold
    /// them, and nobody else can register before it.
    fn adopt(&mut self, node: NodeId) {
        let without =
            |(id, placement): (PartitionId, &Placement)| placement.replicas.is_empty().then_some(id);
        let ids: Vec<PartitionId> = self.placements.iter().filter_map(without).collect();
        for id in ids {
            self.placements.update(id, |placement| *placement = Placement::new(vec![node]));
        }
    }

    pub(super) fn put_node(&mut self, node: Node) -> Applied {
        if self.nodes.get(node.id) == Some(&node) {
            return Ok(Response::Node(node));
        }
        Arc::make_mut(&mut self.nodes).put(node.clone());
        self.changed(Response::Node(node))
    }

    pub(super) fn remove_node(&mut self, node: NodeId) -> Applied {
        self.nodes.check_removable(node)?;
        let replicas = self.placements.load(node).hosted();
        if replicas > 0 {
            return Err(MetadataError::NodeInUse { node, replicas });
        }
        Arc::make_mut(&mut self.nodes).remove(node);
        self.changed(Response::Done)
    }
}

//! The table of nodes.

use crate::limits::{ADDRESS_BYTES_MAX, NODE_NAME_BYTES_MAX, NODES_MAX, RACK_BYTES_MAX};
use crate::{MetadataError, Node, NodeState, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use varve_record::NodeId;

/// The nodes by their ids. Once the first was registered, at least one of them is always active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nodes {
    #[serde(with = "number::map")]
    by_id: BTreeMap<NodeId, Arc<Node>>,
    /// Ids are never used twice.
    next_id: u64,
}

/// Where a node is, as it says itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) rpc_addr: &'a str,
    pub(crate) gossip_addr: &'a str,
    pub(crate) rack: &'a str,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), next_id: 1 }
    }
}

impl Nodes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_id.values().map(Arc::as_ref)
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = &Node> {
        self.iter().filter(|node| node.is_active())
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    /// The highest id that was ever given out.
    pub(crate) fn last_id(&self) -> Option<NodeId> {
        (self.next_id > 1).then(|| NodeId::new(self.next_id - 1))
    }

    pub(crate) fn was_removed(&self, id: NodeId) -> bool {
        id.get() != 0 && id.get() < self.next_id && !self.by_id.contains_key(&id)
    }

    /// Whether no node was ever registered.
    pub(crate) fn is_untouched(&self) -> bool {
        self.next_id == 1
    }

    /// Takes in a new node. One of the same name is lost from then on.
    pub(crate) fn register(&mut self, name: &str, site: Site<'_>) -> Result<Node, MetadataError> {
        check_text("name", name, 1, NODE_NAME_BYTES_MAX)?;
        site.check()?;
        if self.by_id.len() >= NODES_MAX {
            return Err(MetadataError::TooManyNodes { max: NODES_MAX });
        }
        for node in self.by_id.values_mut().filter(|node| node.name == name && !node.is_lost()) {
            Arc::make_mut(node).state = NodeState::Lost;
        }
        let id = NodeId::new(self.next_id);
        let node = Node {
            id,
            name: name.to_owned(),
            rpc_addr: site.rpc_addr.to_owned(),
            gossip_addr: site.gossip_addr.to_owned(),
            rack: site.rack.to_owned(),
            state: NodeState::Active,
        };
        self.next_id += 1;
        self.by_id.insert(id, Arc::new(node.clone()));
        Ok(node)
    }

    /// A node that is where it says, which is not yet taken over.
    pub(crate) fn updated(&self, id: NodeId, site: Site<'_>) -> Result<Node, MetadataError> {
        let node = self.living(id)?;
        site.check()?;
        let (rpc_addr, gossip_addr) = (site.rpc_addr.to_owned(), site.gossip_addr.to_owned());
        Ok(Node { rpc_addr, gossip_addr, rack: site.rack.to_owned(), ..node.clone() })
    }

    /// A node that drains or does not, which is not yet taken over.
    pub(crate) fn drained(&self, id: NodeId, drain: bool) -> Result<Node, MetadataError> {
        let node = self.living(id)?;
        if drain {
            self.check_not_last(id)?;
        }
        let state = if drain { NodeState::Draining } else { NodeState::Active };
        Ok(Node { state, ..node.clone() })
    }

    /// A node that is lost, which is not yet taken over.
    pub(crate) fn lost(&self, id: NodeId) -> Result<Node, MetadataError> {
        let node = self.known(id)?;
        self.check_not_last(id)?;
        Ok(Node { state: NodeState::Lost, ..node.clone() })
    }

    pub(crate) fn put(&mut self, node: Node) {
        self.by_id.insert(node.id, Arc::new(node));
    }

    /// Checks that a node can be removed, as far as the table of nodes knows.
    pub(crate) fn check_removable(&self, id: NodeId) -> Result<(), MetadataError> {
        if self.known(id)?.is_active() {
            return Err(MetadataError::NodeActive(id));
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.by_id.remove(&id);
    }

    /// A node that is in the cluster, lost or not.
    pub(crate) fn known(&self, id: NodeId) -> Result<&Node, MetadataError> {
        match self.get(id) {
            Some(node) => Ok(node),
            None if self.was_removed(id) => Err(MetadataError::NodeRemoved(id)),
            None => Err(MetadataError::NodeNotFound(id)),
        }
    }

    /// A node that is in the cluster and not lost.
    pub(crate) fn living(&self, id: NodeId) -> Result<&Node, MetadataError> {
        let node = self.known(id)?;
        if node.is_lost() { Err(MetadataError::NodeLost(id)) } else { Ok(node) }
    }

    fn check_not_last(&self, id: NodeId) -> Result<(), MetadataError> {
        if self.active().all(|node| node.id == id) {
            return Err(MetadataError::LastActiveNode(id));
        }
        Ok(())
    }
}

impl Site<'_> {
    fn check(&self) -> Result<(), MetadataError> {
        check_text("rpc_addr", self.rpc_addr, 1, ADDRESS_BYTES_MAX)?;
        check_text("gossip_addr", self.gossip_addr, 0, ADDRESS_BYTES_MAX)?;
        check_text("rack", self.rack, 0, RACK_BYTES_MAX)
    }
}

fn check_text(field: &'static str, text: &str, min: usize, max: usize) -> Result<(), MetadataError> {
    if (min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let text = text.chars().take(max).collect();
    Err(MetadataError::NodeText { field, text, min, max })
}

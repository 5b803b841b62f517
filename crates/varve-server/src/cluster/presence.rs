//! Who is there, by gossip.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use varve_gossip::{Member, MemberStatus, Membership, Tags};
use varve_record::NodeId;

/// Names of the tags that nodes carry in gossip.
const CLUSTER: &str = "cluster";
const NODE: &str = "id";
const RPC: &str = "rpc";

/// The members that gossip knows, as nodes of a cluster. Without gossip nothing is known, and everybody counts as alive. A
/// clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    membership: Option<Arc<dyn Membership>>,
    rpc_addr: String,
}

/// A member that belongs to a cluster.
#[derive(Clone, Debug)]
pub(crate) struct PresentNode {
    pub(crate) id: NodeId,
    pub(crate) cluster_id: String,
    pub(crate) name: String,
    pub(crate) rpc_addr: String,
    pub(crate) gossip_addr: String,
    pub(crate) alive: bool,
}

impl Presence {
    /// What `membership` tells; this node is reached at `rpc_addr`.
    pub(crate) fn new(membership: Option<Arc<dyn Membership>>, rpc_addr: String) -> Self {
        Self { membership, rpc_addr }
    }

    pub(crate) fn has_gossip(&self) -> bool {
        self.membership.is_some()
    }

    /// The members that belong to a cluster, whichever it is.
    pub(crate) fn nodes(&self) -> Vec<PresentNode> {
        let members = self.membership.as_ref().map(|membership| membership.members()).unwrap_or_default();
        members.into_iter().filter_map(present).collect()
    }

    /// The nodes of this cluster that are alive; `None` where nobody can say.
    pub(crate) fn alive(&self, cluster_id: &str) -> Option<BTreeSet<NodeId>> {
        self.membership.as_ref()?;
        let nodes = self.nodes().into_iter().filter(|node| node.alive && node.cluster_id == cluster_id);
        Some(nodes.map(|node| node.id).collect())
    }

    /// Where the nodes of this cluster that are alive are reached.
    pub(crate) fn addresses(&self, cluster_id: &str) -> BTreeMap<NodeId, PresentNode> {
        let nodes = self.nodes().into_iter().filter(|node| node.alive && node.cluster_id == cluster_id);
        nodes.map(|node| (node.id, node)).collect()
    }

    /// Follows changes: what changed has to be looked up. Without gossip nothing ever changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        match &self.membership {
            Some(membership) => membership.changes(),
            None => watch::channel(0).1,
        }
    }

    /// Says to the others which node of which cluster this is.
    pub(crate) async fn announce(&self, cluster_id: &str, node: NodeId) {
        let Some(membership) = &self.membership else { return };
        let pairs = [(CLUSTER, cluster_id.to_owned()), (NODE, node.to_string()), (RPC, self.rpc_addr.clone())];
        let tags: Tags = match Tags::try_from_iter(pairs) {
            Ok(tags) => tags,
            Err(error) => return tracing::error!(%error, "this node cannot be announced by gossip"),
        };
        if let Err(error) = membership.set_tags(tags).await {
            tracing::warn!(%error, "gossip did not take what this node is");
        }
    }

    /// The address that others gossip with.
    pub(crate) fn gossip_addr(&self) -> String {
        self.membership.as_ref().map_or_else(String::new, |membership| membership.local().gossip_addr.to_string())
    }

    /// Stops without a word: to the others this node has failed until it is back.
    pub(crate) async fn shutdown(&self) {
        if let Some(membership) = &self.membership {
            membership.shutdown().await;
        }
    }
}

fn present(member: Member) -> Option<PresentNode> {
    let tag = |name| member.tags.get(name).map(str::to_owned);
    Some(PresentNode {
        id: NodeId::new(tag(NODE)?.parse().ok()?),
        cluster_id: tag(CLUSTER)?,
        rpc_addr: tag(RPC)?,
        gossip_addr: member.gossip_addr.to_string(),
        alive: member.status == MemberStatus::Alive,
        name: member.name,
    })
}

//! Who is there, by gossip.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use varve_controller::COMMANDS_KNOWN;
use varve_gossip::{Member, MemberStatus, Membership, Tags, TagsError};
use varve_record::NodeId;

use super::address_book::changed;
use crate::NodeIdentity;

/// Names of the tags that nodes carry in gossip.
const CLUSTER: &str = "cluster";
const NODE: &str = "id";
const RPC: &str = "rpc";
const COMMANDS: &str = "commands";

/// The commands that a node knows that does not say it: see [`COMMANDS_KNOWN`].
const COMMANDS_OF_THE_FIRST: u32 = 1;

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
    /// Which commands of the metadata it knows: see [`COMMANDS_KNOWN`].
    pub(crate) commands: u32,
}

impl Presence {
    /// What `membership` tells; this node is reached at `rpc_addr`.
    pub(crate) fn new(membership: Option<Arc<dyn Membership>>, rpc_addr: String) -> Self {
        Self { membership, rpc_addr }
    }

    /// Has the key file looked at.
    pub(crate) fn reload_keys(&self) {
        if let Some(membership) = &self.membership {
            membership.reload_keys();
        }
    }

    /// How many members there are of whom gossip says this.
    pub(crate) fn count(&self, status: MemberStatus) -> usize {
        let members = self.membership.as_ref().map(|membership| membership.members()).unwrap_or_default();
        members.iter().filter(|member| member.status == status).count()
    }

    /// The members that belong to a cluster, whichever it is.
    pub(crate) fn nodes(&self) -> Vec<PresentNode> {
        let members = self.membership.as_ref().map(|membership| membership.members()).unwrap_or_default();
        members.into_iter().filter_map(present).collect()
    }

    /// A node of a cluster that shows up within so long, if one does.
    pub(crate) async fn wait_for_nodes(&self, pause: Duration) -> Option<PresentNode> {
        self.membership.as_ref()?;
        let mut changes = self.changes();
        let seen = async {
            loop {
                changes.borrow_and_update();
                if let Some(node) = self.nodes().into_iter().find(|node| node.alive) {
                    return node;
                }
                changed(&mut changes).await;
            }
        };
        timeout(pause, seen).await.ok()
    }

    /// The nodes of this cluster that are alive; `None` where nobody can say.
    pub(crate) fn alive(&self, cluster_id: &str) -> Option<BTreeSet<NodeId>> {
        self.membership.as_ref()?;
        let nodes = self.nodes().into_iter().filter(|node| node.alive && node.cluster_id == cluster_id);
        Some(nodes.map(|node| node.id).collect())
    }

    /// The nodes of this cluster that are known to know these commands, whether they are alive or not; `None` where nobody can say.
    pub(crate) fn knowing(&self, cluster_id: &str, commands: u32) -> Option<BTreeSet<NodeId>> {
        self.membership.as_ref()?;
        let ours = self.nodes().into_iter().filter(|node| node.cluster_id == cluster_id);
        Some(ours.filter(|node| node.commands >= commands).map(|node| node.id).collect())
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

    /// What a node says of itself.
    pub(crate) fn tags(identity: Option<&NodeIdentity>, rpc_addr: &str) -> Result<Tags, TagsError> {
        let mut tags = Tags::try_from([(RPC, rpc_addr)])?;
        if let Some(identity) = identity {
            tags.insert(CLUSTER, identity.cluster_id.as_str())?;
            tags.insert(NODE, identity.node_id.to_string())?;
            tags.insert(COMMANDS, COMMANDS_KNOWN.to_string())?;
        }
        Ok(tags)
    }

    /// Says to the others which node of which cluster this is.
    pub(crate) async fn announce(&self, identity: &NodeIdentity) {
        self.say(Self::tags(Some(identity), &self.rpc_addr)).await;
    }

    async fn say(&self, tags: Result<Tags, TagsError>) {
        let Some(membership) = &self.membership else { return };
        match tags {
            Ok(tags) => {
                if let Err(error) = membership.set_tags(tags).await {
                    tracing::warn!(%error, "gossip did not take what this node is");
                }
            }
            Err(error) => tracing::error!(%error, "this node cannot be announced by gossip"),
        }
    }

    /// Where this node is reached.
    pub(crate) fn rpc_addr(&self) -> &str {
        &self.rpc_addr
    }

    /// The address that others gossip with.
    pub(crate) fn gossip_addr(&self) -> String {
        self.membership
            .as_ref()
            .map_or_else(String::new, |membership| membership.local().gossip_addr.to_string())
    }

    /// Says that this node goes for good.
    pub(crate) async fn leave(&self) {
        if let Some(membership) = &self.membership {
            membership.leave().await;
        }
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
        alive: member.is_alive(),
        commands: tag(COMMANDS).and_then(|known| known.parse().ok()).unwrap_or(COMMANDS_OF_THE_FIRST),
        name: member.name,
    })
}

//! Where each node is reached.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use varve_controller::Metadata;
use varve_env::Env;
use varve_net::PeerAddresses;
use varve_record::NodeId;
use varve_storage::Storage;

use super::Presence;
use crate::identity::{KnownPeer, NodeFile, NodeIdentity};
use crate::topics::MetadataMachine;

/// How long changes are gathered before they are written down.
const SETTLE: Duration = Duration::from_millis(200);

/// Where each node is reached: what gossip says of those alive, else what the metadata say, else what was known when the
/// node stopped. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct AddressBook {
    known: Arc<RwLock<BTreeMap<NodeId, KnownPeer>>>,
}

impl AddressBook {
    /// With what the data directory remembers.
    pub(crate) fn new(remembered: Vec<KnownPeer>) -> Self {
        let known = remembered.into_iter().map(|peer| (peer.id, peer)).collect();
        Self { known: Arc::new(RwLock::new(known)) }
    }

    /// The address of a node for gRPC and peers.
    pub(crate) fn rpc_addr(&self, node: NodeId) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&node).map(|peer| peer.rpc_addr.clone())
    }

    /// Where the other nodes are reached.
    pub(crate) fn others(&self, this: NodeId) -> Vec<String> {
        self.peers(this).into_iter().map(|peer| peer.rpc_addr).collect()
    }

    /// As connections between peers look addresses up.
    pub(crate) fn for_peers(&self) -> PeerAddresses {
        let book = self.clone();
        Arc::new(move |node| book.rpc_addr(NodeId::new(node)))
    }

    /// Follows metadata and gossip, and writes down where the others are, for ever.
    pub(crate) async fn follow(
        self,
        env: Env,
        storage: Storage,
        identity: NodeIdentity,
        presence: Presence,
        mut metadata: watch::Receiver<Arc<MetadataMachine>>,
    ) {
        let mut present = presence.changes();
        let mut written = Vec::new();
        loop {
            let state = Arc::clone(&metadata.borrow_and_update());
            present.borrow_and_update();
            self.refresh(&state.0, &presence, &identity.cluster_id);
            let peers = self.peers(identity.node_id);
            if peers != written {
                let file = NodeFile { identity: identity.clone(), peers: peers.clone() };
                let storage = storage.clone();
                let outcome = env.blocking.run(move || storage.set_node_file(file.encode())).await;
                match outcome {
                    Ok(()) => written = peers,
                    Err(error) => tracing::warn!(%error, "cannot write down where the other nodes are"),
                }
            }
            tokio::select! {
                changed = metadata.changed() => if changed.is_err() { return },
                () = changed(&mut present) => {}
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    fn refresh(&self, metadata: &Metadata, presence: &Presence, cluster_id: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if metadata.nodes().next().is_some() {
            known.retain(|id, _| metadata.node(*id).is_some());
        }
        for node in metadata.nodes() {
            let (rpc_addr, gossip_addr) = (node.rpc_addr.clone(), node.gossip_addr.clone());
            known.insert(node.id, KnownPeer { id: node.id, rpc_addr, gossip_addr });
        }
        for (id, node) in presence.addresses(cluster_id) {
            known.insert(id, KnownPeer { id, rpc_addr: node.rpc_addr, gossip_addr: node.gossip_addr });
        }
    }

    fn peers(&self, this: NodeId) -> Vec<KnownPeer> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|peer| peer.id != this).cloned().collect()
    }
}

/// Returns once a watch changes; never where it will not any more.
pub(crate) async fn changed(watch: &mut watch::Receiver<u64>) {
    if watch.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

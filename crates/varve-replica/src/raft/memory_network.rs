//! Links in memory, which can be cut.

use super::peer::{PeerError, PeerNetwork, PeerRequest, PeerResponse};
use super::peers::Peers;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use varve_env::Entropy;
use varve_record::{NodeId, PartitionId};

/// Whoever sends into a cut link waits so long before it is told.
const CUT_DELAY: Duration = Duration::from_millis(5);
/// A drop is one of so many requests.
const DROP_PARTS: u64 = 1000;

/// Nodes of one process that reach each other without sockets: for tests and simulation. Links can be cut in each direction,
/// slowed down, and made to lose requests and answers. Cheap to clone.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Mutex<Wires>>);

struct Wires {
    nodes: BTreeMap<NodeId, Peers>,
    cut: BTreeSet<(NodeId, NodeId)>,
    mute: BTreeSet<(NodeId, NodeId)>,
    delay: Duration,
    lost_per_mille: u64,
    entropy: Arc<dyn Entropy>,
}

impl MemoryNetwork {
    /// A network without nodes, where all links are sound. `entropy` chooses what is lost.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        let (nodes, cut, mute) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let wires = Wires { nodes, cut, mute, delay: Duration::ZERO, lost_per_mille: 0, entropy };
        Self(Arc::new(Mutex::new(wires)))
    }

    /// What `node` uses to reach the others.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Arc<dyn PeerNetwork> {
        Arc::new(Socket { from: node, network: self.clone() })
    }

    /// Plugs a node in, in place of the one that had its number.
    pub fn plug(&self, peers: &Peers) {
        drop(self.lock().nodes.insert(peers.node(), peers.clone()));
    }

    /// Unplugs a node: it is down.
    pub fn unplug(&self, node: NodeId) {
        drop(self.lock().nodes.remove(&node));
    }

    /// Cuts the way from one node to another; the way back stays.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.lock().cut.insert((from, to));
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&self, node: NodeId) {
        let mut wires = self.lock();
        let others: Vec<_> = wires.nodes.keys().copied().filter(|other| *other != node).collect();
        wires.cut.extend(others.iter().flat_map(|other| [(node, *other), (*other, node)]));
    }

    /// Loses what one node answers another, and not what it asks it.
    pub fn lose_answers(&self, of: NodeId, to: NodeId) {
        self.lock().mute.insert((of, to));
    }

    /// Mends every link.
    pub fn heal(&self) {
        let mut wires = self.lock();
        wires.cut.clear();
        wires.mute.clear();
    }

    /// How long a request takes, and its answer.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// How many of a thousand requests are lost, and of answers.
    pub fn set_lost(&self, per_mille: u64) {
        self.lock().lost_per_mille = per_mille.min(DROP_PARTS);
    }

    /// Who answers, where the link is sound at this moment.
    fn reach(&self, from: NodeId, to: NodeId) -> Option<Peers> {
        let wires = self.lock();
        let lost = wires.lost_per_mille > 0 && wires.entropy.below(DROP_PARTS) < wires.lost_per_mille;
        if lost || wires.cut.contains(&(from, to)) || !wires.nodes.contains_key(&from) {
            return None;
        }
        wires.nodes.get(&to).cloned()
    }

    fn delay(&self) -> Duration {
        self.lock().delay
    }

    fn lock(&self) -> MutexGuard<'_, Wires> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

/// One node's end of the network.
#[derive(Debug)]
struct Socket {
    from: NodeId,
    network: MemoryNetwork,
}

impl PeerNetwork for Socket {
    fn call(
        &self,
        to: NodeId,
        group: PartitionId,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerResponse, PeerError>> {
        let (from, network) = (self.from, self.network.clone());
        async move {
            wait(network.delay()).await;
            if !network.lock().nodes.contains_key(&to) {
                tokio::time::sleep(CUT_DELAY).await;
                return Err(PeerError::NotSent { node: to, reason: "the node is down".to_owned() });
            }
            let Some(peers) = network.reach(from, to) else { return Err(cut(to).await) };
            let answer = peers.answer(group, request).await;
            wait(network.delay()).await;
            // A node that went down meanwhile answers nothing any more.
            let is_lost = network.lock().mute.contains(&(to, from));
            if is_lost || network.reach(to, from).is_none() { Err(cut(to).await) } else { answer }
        }
        .boxed()
    }
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

async fn cut(node: NodeId) -> PeerError {
    tokio::time::sleep(CUT_DELAY).await;
    PeerError::Unreachable { node, reason: "the link is cut".to_owned() }
}

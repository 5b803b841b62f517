//! A node's seat in its cluster: taken when it starts, and lost when the cluster takes the node out.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use varve_api::v1;
use varve_controller::{Command, Node, NodeState};

use crate::NodeConfig;
use crate::cluster::{ClusterView, Forwarder, unforwarded};
use crate::error::StartError;
use crate::identity::FOUNDER;

/// The pause before the controller is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the controller is asked in vain before the other nodes are asked whether this one still belongs to them.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a node looks whether it still belongs to its cluster.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long one of them may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What came of one try.
enum Seat {
    Taken,
    NotYet(String),
    Refused(String),
    Removed,
}

/// Waits until the metadata are known here as they are, and makes them say where this node is. Without a leader of the
/// controller that takes until there is one.
pub(crate) async fn take(
    view: &ClusterView,
    forwarder: &Forwarder,
    config: &NodeConfig,
    reached_at: &str,
) -> Result<(), StartError> {
    let since = Instant::now();
    let mut said = None;
    loop {
        match attempt(view, config, reached_at).await {
            Seat::Taken => return Ok(()),
            Seat::Removed => return Err(removed(view, config)),
            Seat::Refused(reason) => return Err(StartError::Setup { what: "the node's place", reason }),
            Seat::NotYet(reason) => {
                if since.elapsed() >= PATIENCE {
                    if said.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "waiting for the controller's leader");
                        said = Some(reason);
                    }
                    if is_disowned(view, forwarder).await {
                        return Err(removed(view, config));
                    }
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Returns once the cluster has taken this node out, or another in its place: whether it was decommissioned, and so given time to
/// give up all that it had.
pub(crate) async fn lost(view: ClusterView, forwarder: Forwarder) -> bool {
    let mut metadata = view.metadata.follow();
    let (mut draining, mut name) = (false, String::new());
    loop {
        let state = view.state();
        match state.0.node(view.this()) {
            Some(node) if node.is_lost() => return false,
            Some(node) => (draining, name) = (node.state == NodeState::Draining, node.name.clone()),
            // Steps may have been passed over unseen; but whoever is replaced has a successor.
            None => return draining || state.0.node_by_name(&name).is_none(),
        }
        if timeout(LOOK_INTERVAL, metadata.changed()).await.is_ok() {
            continue;
        }
        // Whoever is taken out may not hear of it: it is told no more, and goes on to name the leader that it knew.
        let heard = timeout(ANSWER_TIMEOUT, view.metadata.linearize()).await;
        if !matches!(heard, Ok(Ok(()))) && is_disowned(&view, &forwarder).await {
            return draining;
        }
    }
}

/// Returns once gossip shows a node of another cluster, if this node is the only one of its own and has nothing to lose: it was told to make a cluster
/// where there was one, as a node is whose disk was lost and whose settings were not.
pub(crate) async fn beside_another(view: ClusterView, founded: bool) -> String {
    let mut present = view.presence.changes();
    loop {
        present.borrow_and_update();
        let state = view.state();
        let alone = state.0.nodes().all(|node| node.id == view.this());
        // One that has topics, and was there before, is somebody's.
        let alone = alone && (founded || state.0.topics().next().is_none());
        let stranger = view
            .presence
            .nodes()
            .into_iter()
            .find(|node| node.alive && node.cluster_id != view.identity.cluster_id);
        match stranger {
            Some(stranger) if alone => return stranger.cluster_id,
            Some(stranger) => {
                tracing::error!(
                    name = stranger.name,
                    cluster_id = stranger.cluster_id,
                    "gossip shows a node of another cluster: give each cluster its own gossip key"
                );
            }
            None => {}
        }
        if present.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn attempt(view: &ClusterView, config: &NodeConfig, reached_at: &str) -> Seat {
    match timeout(PATIENCE, view.metadata.linearize()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Seat::NotYet(error.to_string()),
        // Whoever was taken out is told where the controller is, and nothing of what it did since.
        Err(_) => return Seat::NotYet("what the controller did since is not known here yet".to_owned()),
    }
    let (this, state) = (view.this(), view.state());
    let gossip_addr = view.presence.gossip_addr();
    let (rpc_addr, rack) = (reached_at.to_owned(), config.rack.clone());
    let command = match state.0.node(this) {
        Some(node) if node.is_lost() => return Seat::Removed,
        Some(node) if is_up_to_date(node, reached_at, &gossip_addr, &rack) => return Seat::Taken,
        Some(_) => Command::UpdateNode { node: this, rpc_addr, gossip_addr, rack },
        // The cluster begins with its founder.
        None if this == FOUNDER && !state.0.was_removed(this) && state.0.nodes().next().is_none() => {
            Command::RegisterNode { name: config.node_name.clone(), rpc_addr, gossip_addr, rack }
        }
        None => return Seat::Removed,
    };
    match view.metadata.propose(command).await {
        Ok(Ok(_)) => Seat::NotYet("the metadata are being told of this node".to_owned()),
        Ok(Err(refusal)) => Seat::Refused(refusal.to_string()),
        Err(error) => Seat::NotYet(error.to_string()),
    }
}

fn is_up_to_date(node: &Node, rpc_addr: &str, gossip_addr: &str, rack: &str) -> bool {
    node.rpc_addr == rpc_addr && node.gossip_addr == gossip_addr && node.rack == rack
}

/// Whether another node of the cluster says that this one is none of it: whoever was taken out hears nothing from the
/// controller's group any more.
async fn is_disowned(view: &ClusterView, forwarder: &Forwarder) -> bool {
    for addr in view.addresses.others(view.this()) {
        let Ok(mut client) = forwarder.cluster(&addr) else { continue };
        let asked = client.get_servers(unforwarded(v1::GetServersRequest {}));
        let Ok(Ok(answer)) = timeout(ANSWER_TIMEOUT, asked).await else { continue };
        let answer = answer.into_inner();
        let ours = answer.cluster_id == view.identity.cluster_id && !answer.servers.is_empty();
        let this = view.this().get();
        let out = match answer.servers.iter().find(|server| server.id == this) {
            Some(server) => server.state() == v1::ServerState::Lost,
            // Whoever has not heard of this node yet does not know that it was taken out.
            None => answer.last_server_id >= this,
        };
        if ours && out {
            return true;
        }
    }
    false
}

fn removed(view: &ClusterView, config: &NodeConfig) -> StartError {
    StartError::Removed { identity: view.identity.clone(), dir: config.data_dir.clone() }
}

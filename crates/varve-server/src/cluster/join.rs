//! How a node without a place gets one.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_env::Entropy;
use varve_record::NodeId;

use super::address_book::changed;
use super::forward::{Forwarder, unforwarded};
use super::presence::{Presence, PresentNode};
use crate::NodeIdentity;
use crate::identity::{KnownPeer, NodeFile};

/// How long one node may take to answer a request to join. It waits for the controller's leader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The first and the longest pause before all are asked again, where nothing changes: whoever is asked may be about to start.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Somebody asks this node to make a new cluster.
#[derive(Debug)]
pub(crate) struct InitAsked {
    pub(crate) answer: oneshot::Sender<Result<String, ApiError>>,
}

/// A node's new place.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) file: NodeFile,
    /// Who asked for the cluster, where it is a new one: answered once the place is durable.
    pub(crate) asked: Option<InitAsked>,
}

/// Looks for a cluster by gossip and joins it, or makes one when asked to, however long that takes.
pub(crate) async fn find_place(
    presence: &Presence,
    forwarder: &Forwarder,
    this: &v1::JoinClusterRequest,
    entropy: &dyn Entropy,
    asked: &mut mpsc::Receiver<InitAsked>,
) -> Place {
    let mut changes = presence.changes();
    let (mut said, mut pause) = (String::new(), PAUSE_MIN);
    tracing::info!(
        name = this.name,
        "this node belongs to no cluster yet: it looks for one by gossip, or waits to be told to make one"
    );
    loop {
        changes.borrow_and_update();
        match join(presence, forwarder, this).await {
            Ok(Some(file)) => return Place { file, asked: None },
            Ok(None) => {}
            Err(error) if error.message == said => {}
            Err(error) => {
                tracing::warn!(%error, "cannot join the cluster yet: trying again");
                said = error.message;
            }
        }
        tokio::select! {
            biased;
            Some(ask) = asked.recv() => if let Some(place) = init(presence, entropy, ask) {
                return place;
            },
            () = changed(&mut changes) => pause = PAUSE_MIN,
            () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// Asks the nodes that are there for a place; `None` where nobody is there.
async fn join(
    presence: &Presence,
    forwarder: &Forwarder,
    this: &v1::JoinClusterRequest,
) -> Result<Option<NodeFile>, ApiError> {
    let nodes: Vec<PresentNode> = presence.nodes().into_iter().filter(|node| node.alive).collect();
    let clusters: BTreeSet<&str> = nodes.iter().map(|node| node.cluster_id.as_str()).collect();
    if clusters.len() > 1 {
        let message = format!(
            "gossip shows nodes of several clusters ({}): give each its own gossip key",
            join_words(&clusters)
        );
        return Err(ApiError::new(Reason::ChangeRefused, message));
    }
    let mut refusal = None;
    for node in &nodes {
        match ask(forwarder, &node.rpc_addr, this).await {
            Ok(answer) => return place(answer).map(Some),
            Err(error) => refusal = Some(error),
        }
    }
    refusal.map_or(Ok(None), Err)
}

async fn ask(
    forwarder: &Forwarder,
    addr: &str,
    this: &v1::JoinClusterRequest,
) -> Result<v1::JoinClusterResponse, ApiError> {
    let mut client = forwarder.cluster(addr)?;
    let answer = timeout(ANSWER_TIMEOUT, client.join_cluster(unforwarded(this.clone()))).await;
    let late = |_| ApiError::new(Reason::Deadline, format!("{addr} gave no answer in time"));
    let answer = answer.map_err(late)?;
    answer.map(tonic::Response::into_inner).map_err(|status| ApiError::from_status(&status))
}

fn place(answer: v1::JoinClusterResponse) -> Result<NodeFile, ApiError> {
    let identity = NodeIdentity { cluster_id: answer.cluster_id, node_id: NodeId::new(answer.node_id) };
    if identity.cluster_bytes().is_none() || answer.node_id == 0 {
        let message =
            format!("the cluster gave a place that is none ({identity}): is it of another version?");
        return Err(ApiError::new(Reason::Internal, message));
    }
    let known = |server: v1::Server| KnownPeer {
        id: NodeId::new(server.id),
        rpc_addr: server.rpc_addr,
        gossip_addr: server.gossip_addr,
    };
    let peers = answer.servers.into_iter().filter(|server| server.id != answer.node_id).map(known);
    Ok(NodeFile { peers: peers.collect(), identity })
}

/// Makes a new cluster, where there is none to be seen.
fn init(presence: &Presence, entropy: &dyn Entropy, asked: InitAsked) -> Option<Place> {
    if let Some(other) = presence.nodes().first() {
        let message = format!(
            "node {} ({}) belongs to cluster {} already: this node will join it",
            other.id, other.name, other.cluster_id
        );
        drop(asked.answer.send(Err(ApiError::new(Reason::ClusterExists, message))));
        return None;
    }
    Some(Place { file: NodeFile::new(NodeIdentity::found(entropy)), asked: Some(asked) })
}

fn join_words(words: &BTreeSet<&str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(", ")
}

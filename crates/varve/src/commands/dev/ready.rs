//! Waits until processes are a cluster.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use varve_api::v1::{GetClusterHealthResponse, Server, ServerState};
use varve_client::{Client, ClientBuilder, ClientError, ClientTls};

use super::node::Node;
use crate::failure::{Exit, Failure};

/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a new node is given to take its place, and the pause between two looks whether it has.
const PLACE_PATIENCE: Duration = Duration::from_secs(3);
const PLACE_INTERVAL: Duration = Duration::from_millis(10);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until all of these are alive, have their votes, and nothing is wrong; answers what servers there are.
///
/// # Errors
/// If that takes too long.
pub(super) async fn wait(
    nodes: &[Node],
    tls: Option<ClientTls>,
    patience: Duration,
) -> Result<Vec<Server>, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let lacking = match look(nodes, tls.clone()).await {
            Ok((servers, health)) => match lacking(nodes, &servers, &health) {
                None => return Ok(servers),
                Some(lacking) => lacking,
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() + LOOK_INTERVAL >= deadline {
            let message = format!("the nodes are no cluster after {}s: {lacking}", patience.as_secs());
            return Err(Failure::new(Exit::Timeout, message).hint("the nodes' logs tell more"));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Gives a node a moment to take its place before the next one comes, where both are new. If it takes longer the next one
/// comes all the same: only the order of their ids hangs on it.
pub(super) async fn wait_for_place(before: &Node, next: &Node) {
    let deadline = Instant::now() + PLACE_PATIENCE;
    while !next.belongs_to_a_cluster() && !before.belongs_to_a_cluster() && Instant::now() < deadline {
        sleep(PLACE_INTERVAL).await;
    }
}

/// The address of a cluster of these nodes.
pub(super) fn address(nodes: &[Node]) -> String {
    let members: Vec<String> = nodes.iter().map(Node::rpc_addr).collect();
    format!("varve://{}", members.join(","))
}

async fn look(
    nodes: &[Node],
    tls: Option<ClientTls>,
) -> Result<(Vec<Server>, GetClusterHealthResponse), ClientError> {
    // A new client each time: one that has met a node too early would wait before it tries again.
    let builder = tls.into_iter().fold(Client::builder(), ClientBuilder::tls);
    let client = builder.call_timeout(LOOK_TIMEOUT).connect(&address(nodes)).await?;
    let servers = client.servers().await?.servers;
    Ok((servers, client.cluster_health().await?))
}

/// What is lacking still, in words.
fn lacking(nodes: &[Node], servers: &[Server], health: &GetClusterHealthResponse) -> Option<String> {
    let of = |node: &Node| {
        let is = |server: &&Server| server.name == node.name && server.state() != ServerState::Lost;
        servers.iter().find(is)
    };
    let count = nodes.len();
    let alive = nodes.iter().filter_map(of).filter(|server| server.alive).count();
    let voters = nodes.iter().filter_map(of).filter(|server| server.controller_voter).count();
    if alive < count {
        return Some(format!("{alive} of {count} nodes are there"));
    }
    if voters < count {
        return Some(format!("{voters} of {count} nodes vote in the controller"));
    }
    if health.controller_leader.is_none() {
        return Some("nobody leads the controller".into());
    }
    if !health.healthy {
        return Some(health.problems.first().cloned().unwrap_or_else(|| "it is not healthy".into()));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ports::Ports;
    use super::*;

    #[test]
    fn what_is_lacking_is_said() {
        let node = |number| {
            Node::new(Path::new("/d"), number, Ports { rpc: 1, gossip: 2, ops: 3 }, Path::new("/d/key"))
        };
        let nodes = [node(1), node(2), node(3)];
        let server = |id: u64, alive, controller_voter| Server {
            id,
            name: format!("node-{id}"),
            alive,
            controller_voter,
            state: ServerState::Active as i32,
            ..Server::default()
        };
        let good =
            GetClusterHealthResponse { healthy: true, controller_leader: Some(1), ..Default::default() };
        let two = [server(1, true, true), server(2, true, false)];
        assert_eq!(lacking(&nodes, &two, &good), Some("2 of 3 nodes are there".into()));
        let learner = [server(1, true, true), server(2, true, true), server(3, true, false)];
        assert_eq!(lacking(&nodes, &learner, &good), Some("2 of 3 nodes vote in the controller".into()));
        let all = [server(1, true, true), server(2, true, true), server(3, true, true)];
        assert_eq!(lacking(&nodes, &all, &good), None);
        let bad = GetClusterHealthResponse { healthy: false, problems: vec!["x".into()], ..good.clone() };
        assert_eq!(lacking(&nodes, &all, &bad), Some("x".into()));
        let headless = GetClusterHealthResponse { controller_leader: None, ..good };
        assert_eq!(lacking(&nodes, &all, &headless), Some("nobody leads the controller".into()));
    }
}

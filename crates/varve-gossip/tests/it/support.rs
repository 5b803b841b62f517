//! Nodes on loopback, and waiting for what they see.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use varve_gossip::{Gossip, GossipConfig, GossipKey, GossipTiming, Member, MemberStatus, Membership};

/// How long anything awaited may take. Far more than it needs, for a machine that is busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A key that every test's nodes may share.
pub(crate) fn key() -> GossipKey {
    GossipKey::from_bytes(&[7; 32]).unwrap()
}

/// A node on any port that joins by these addresses.
pub(crate) fn config(name: &str, join: &[SocketAddr]) -> GossipConfig {
    let mut config = GossipConfig::new(name, "127.0.0.1:0".parse().unwrap(), key());
    config.start_join_addrs = join.iter().map(SocketAddr::to_string).collect();
    config.timing = GossipTiming {
        exchange_interval: Duration::from_secs(1),
        rejoin_interval: Duration::from_secs(1),
        ..GossipTiming::default()
    };
    config
}

/// Starts a node.
pub(crate) async fn start(name: &str, join: &[SocketAddr]) -> Gossip {
    Gossip::start(config(name, join)).await.unwrap()
}

/// Waits until what a node sees is as wanted.
pub(crate) async fn until(node: &dyn Membership, what: &str, wanted: impl Fn(&[Member]) -> bool) {
    let mut changes = node.changes();
    let seen = async {
        while !wanted(&node.members()) {
            changes.changed().await.unwrap();
        }
    };
    if timeout(DEADLINE, seen).await.is_err() {
        panic!("{} does not see {what}, but {:#?}", node.local().name, node.members());
    }
}

/// Waits until a node sees exactly these as alive.
pub(crate) async fn until_alive(node: &dyn Membership, names: &[&str]) {
    until(node, &format!("{names:?} alive"), |members| {
        members
            .iter()
            .filter(|member| member.is_alive())
            .map(|member| member.name.as_str())
            .eq(names.iter().copied())
    })
    .await;
}

/// Waits until a node sees another in this state.
pub(crate) async fn until_status(node: &dyn Membership, name: &str, status: MemberStatus) {
    until(node, &format!("{name} {status}"), |members| {
        members.iter().any(|member| member.name == name && member.status == status)
    })
    .await;
}

/// Three nodes that see each other, joined by the first.
pub(crate) async fn three() -> [Gossip; 3] {
    let a = start("a", &[]).await;
    let b = start("b", &[a.addr()]).await;
    let c = start("c", &[a.addr()]).await;
    for node in [&a, &b, &c] {
        until_alive(node, &["a", "b", "c"]).await;
    }
    [a, b, c]
}

/// Stops all.
pub(crate) async fn stop(nodes: impl IntoIterator<Item = Gossip>) {
    for node in nodes {
        node.shutdown().await;
    }
}

//! How the cluster is: what the metadata and gossip say here, and what each server knows alone.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream;
use varve_api::v1;
use varve_controller::{Health, Metadata};
use varve_record::{NodeId, PartitionId};

use super::Shared;
use crate::cluster::unforwarded_for;
use crate::limits::{COLLEAGUE_TIMEOUT, COLLEAGUES_ASKED_AT_ONCE};

use super::lagging;

/// Most problems, and most warnings, that are named.
const PROBLEMS_MAX: usize = 100;

/// How the cluster is; `forward` says whether the other servers may be asked.
pub(crate) async fn of(shared: &Shared, forward: bool) -> v1::GetClusterHealthResponse {
    let mut servers = vec![own(shared).await];
    if forward {
        servers.extend(others(shared).await);
    }
    let view = &shared.view;
    let state = view.state();
    let health = state.0.health(&view.liveness());
    let leader = view.controller_leader();
    let problems = Problems { metadata: &state.0, health: &health, servers: &servers }.all(leader);
    let warnings = warnings(&state.0, &health);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    v1::GetClusterHealthResponse {
        healthy: problems.is_empty(),
        controller_leader: leader.map(u64::from),
        partitions: count(health.partitions),
        leaderless_partitions: count(health.leaderless.count),
        under_replicated_partitions: count(health.under_replicated.count),
        moving_partitions: count(health.moving.count),
        damaged_replicas: count(health.damaged_replicas),
        dead_servers: health.failed.iter().chain(&health.lost).map(|node| node.get()).collect(),
        problems,
        warnings,
        short_partitions: count(health.short.count),
        lagging_replicas: servers.iter().map(|server| server.lagging_replicas).sum(),
        full_servers: servers.iter().filter(|server| server.disk_full).map(|server| server.id).collect(),
        servers,
    }
}

/// What this server knows alone.
async fn own(shared: &Shared) -> v1::ServerHealth {
    let (lagging_replicas, lagging) = lagging::of(shared).await;
    v1::ServerHealth {
        id: shared.view.this().get(),
        disk_full: shared.view.metadata.is_disk_full(),
        lagging_replicas,
        lagging,
    }
}

/// What the others that are alive know alone. Whoever does not answer in time is left out: that it is not alive is for gossip to
/// say.
async fn others(shared: &Shared) -> Vec<v1::ServerHealth> {
    let view = &shared.view;
    let others = view.alive().into_iter().filter(|node| *node != view.this());
    let addrs: Vec<String> = others.filter_map(|node| view.addresses.rpc_addr(node)).collect();
    let asked = stream::iter(addrs).map(|addr| async move {
        let mut cluster = shared.forwarder.cluster(&addr).ok()?;
        let request = unforwarded_for(v1::GetClusterHealthRequest {}, COLLEAGUE_TIMEOUT);
        let answer = tokio::time::timeout(COLLEAGUE_TIMEOUT, cluster.get_cluster_health(request)).await;
        Some(answer.ok()?.ok()?.into_inner().servers)
    });
    let answers: Vec<_> = asked.buffer_unordered(COLLEAGUES_ASKED_AT_ONCE).collect().await;
    let by_id: BTreeMap<u64, v1::ServerHealth> =
        answers.into_iter().flatten().flatten().map(|server| (server.id, server)).collect();
    by_id.into_values().collect()
}

/// What is wrong, in words.
struct Problems<'a> {
    metadata: &'a Metadata,
    health: &'a Health,
    servers: &'a [v1::ServerHealth],
}

impl Problems<'_> {
    /// All, the gravest first.
    fn all(&self, leader: Option<NodeId>) -> Vec<String> {
        let health = self.health;
        let headless = || "the controller has no leader: most of its voters are away".to_owned();
        let mut problems: Vec<String> = leader.is_none().then(headless).into_iter().collect();
        let parts = |ids: &[PartitionId], what: &str| -> Vec<String> {
            ids.iter().map(|id| format!("{} {what}", partition(self.metadata, *id))).collect()
        };
        problems.extend(parts(&health.leaderless.first, "has no leader at present"));
        problems.extend(health.failed.iter().map(|node| format!("{} is not alive", self.server(*node))));
        let lost = "lost its data and is being replaced";
        problems.extend(health.lost.iter().map(|node| format!("{} {lost}", self.server(*node))));
        problems.extend(self.full());
        problems.extend(health.damaged.first.iter().flat_map(|id| self.damaged(*id)));
        problems.extend(parts(&health.under_replicated.first, "has fewer replicas alive than it should"));
        problems.extend(self.servers.iter().flat_map(|server| &server.lagging).map(|lag| self.lagging(lag)));
        problems.truncate(PROBLEMS_MAX);
        problems
    }

    fn full(&self) -> impl Iterator<Item = String> {
        let full = self.servers.iter().filter(|server| server.disk_full);
        full.map(|server| {
            format!("the disk of {} is full: it takes no records", self.server(NodeId::new(server.id)))
        })
    }

    fn damaged(&self, id: PartitionId) -> Vec<String> {
        let placement = self.metadata.placement(id);
        let nodes = placement.into_iter().flat_map(|placement| &placement.damaged);
        let name = partition(self.metadata, id);
        let at = |node: &NodeId| {
            format!("{name} has a damaged replica on {}, which is to be made anew", self.server(*node))
        };
        nodes.map(at).collect()
    }

    fn lagging(&self, lag: &v1::LaggingReplica) -> String {
        let (records, since) = (
            match lag.offsets {
                1 => "1 record".to_owned(),
                count => format!("{count} records"),
            },
            lag.lag_ms.map_or_else(String::new, |ms| format!(", the first of them for {} s", ms / 1000)),
        );
        let at = self.server(NodeId::new(lag.server));
        format!(
            "the replica of topic {} partition {} on {at} lacks {records}{since}",
            lag.topic, lag.partition
        )
    }

    fn server(&self, node: NodeId) -> String {
        let name = self.metadata.node(node).map_or("", |node| node.name.as_str());
        format!("server {node} ({name})")
    }
}

/// What is no fault and yet worth to know, in words: a line for each topic.
fn warnings(metadata: &Metadata, health: &Health) -> Vec<String> {
    let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &health.short.first {
        if let Some((topic, _)) = metadata.partition_name(*id) {
            *topics.entry(topic).or_default() += 1;
        }
    }
    let nodes = metadata.nodes().filter(|node| node.is_active()).count();
    let warn = |topic: &&str| {
        let asked = metadata.topic(topic).map_or(0, |topic| topic.replication_factor);
        let servers =
            if nodes == 1 { "is only 1 server".to_owned() } else { format!("are only {nodes} servers") };
        format!("topic {topic} asks for {asked} copies, and there {servers}")
    };
    topics.keys().map(warn).take(PROBLEMS_MAX).collect()
}

fn partition(metadata: &Metadata, id: PartitionId) -> String {
    match metadata.partition_name(id) {
        Some((topic, number)) => format!("topic {topic} partition {number}"),
        None => format!("partition {id}"),
    }
}

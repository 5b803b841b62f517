//! How the cluster is: what the metadata and gossip say here, and what each server knows alone.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream;
use varve_api::v1;
use varve_controller::{Health, Metadata, controller_voters_wanted};
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
    let mut silent = Vec::new();
    if forward {
        let others = others(shared).await;
        servers.extend(others.answers);
        silent = others.silent;
    }
    let view = &shared.view;
    let (state, liveness) = (view.state(), view.liveness());
    let health = state.0.health(&liveness);
    let leader = view.controller_leader();
    let (voters, wanted) =
        (view.metadata.members().voters.len(), controller_voters_wanted(&state.0, &liveness));
    let few_voters = (voters < wanted).then_some((voters, wanted));
    let problems =
        Problems { metadata: &state.0, health: &health, servers: &servers, silent: &silent, few_voters };
    let problems = problems.all(leader);
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

/// What the others have told.
struct Others {
    answers: Vec<v1::ServerHealth>,
    /// Those that gossip and did not answer in time, each with the address at which it was asked.
    silent: Vec<(NodeId, String)>,
}

/// What the others that are alive know alone.
async fn others(shared: &Shared) -> Others {
    let view = &shared.view;
    let others = view.alive().into_iter().filter(|node| *node != view.this());
    let addrs: Vec<_> = others.filter_map(|node| Some((node, view.addresses.rpc_addr(node)?))).collect();
    let asked = stream::iter(addrs).map(|(node, addr)| async move {
        let asked = async {
            let mut cluster = shared.forwarder.cluster(&addr).ok()?;
            let request = unforwarded_for(v1::GetClusterHealthRequest {}, COLLEAGUE_TIMEOUT);
            Some(cluster.get_cluster_health(request).await.ok()?.into_inner().servers)
        };
        let answer = tokio::time::timeout(COLLEAGUE_TIMEOUT, asked).await;
        answer.ok().flatten().ok_or((node, addr))
    });
    let (mut by_id, mut silent) = (BTreeMap::new(), BTreeMap::new());
    for answer in asked.buffer_unordered(COLLEAGUES_ASKED_AT_ONCE).collect::<Vec<_>>().await {
        match answer {
            Ok(servers) => by_id.extend(servers.into_iter().map(|server| (server.id, server))),
            Err((node, addr)) => drop(silent.insert(node, addr)),
        }
    }
    Others { answers: by_id.into_values().collect(), silent: silent.into_iter().collect() }
}

/// What is wrong, in words.
struct Problems<'a> {
    metadata: &'a Metadata,
    health: &'a Health,
    servers: &'a [v1::ServerHealth],
    /// Who gossips and does not answer, and where it was asked.
    silent: &'a [(NodeId, String)],
    /// How many vote in the controller's group, and how many should, where those are more.
    few_voters: Option<(usize, usize)>,
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
        problems.extend(
            self.silent
                .iter()
                .map(|(node, addr)| format!("{} runs, and does not answer at {addr}", self.server(*node))),
        );
        problems.extend(self.few_voters.map(|(voters, wanted)| {
            format!("{voters} of the {wanted} servers vote in the controller that should")
        }));
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

//! How the cluster is, as this node knows it.

use varve_api::v1;
use varve_controller::{Health, Metadata};
use varve_record::{NodeId, PartitionId};

use crate::cluster::ClusterView;

/// Most problems that are named.
const PROBLEMS_MAX: usize = 100;

/// How the cluster is.
pub(crate) fn of(view: &ClusterView) -> v1::GetClusterHealthResponse {
    let state = view.state();
    let health = state.0.health(&view.liveness());
    let leader = view.controller_leader();
    let problems = problems(&state.0, &health, leader);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    v1::GetClusterHealthResponse {
        healthy: problems.is_empty(),
        controller_leader: leader.map(u64::from),
        partitions: count(health.partitions),
        leaderless_partitions: count(health.leaderless.count),
        under_replicated_partitions: count(health.under_replicated.count),
        moving_partitions: count(health.moving.count),
        damaged_replicas: count(health.damaged.count),
        dead_servers: health.failed.iter().chain(&health.lost).map(|node| node.get()).collect(),
        problems,
    }
}

/// What is wrong, in words, the gravest first.
fn problems(metadata: &Metadata, health: &Health, leader: Option<NodeId>) -> Vec<String> {
    let mut problems = Vec::new();
    if leader.is_none() {
        problems.push("the controller has no leader: most of its voters are away".to_owned());
    }
    let lists = [
        (&health.leaderless, "has no leader at present"),
        (&health.damaged, "has a damaged replica, which is to be made anew"),
        (&health.under_replicated, "has fewer replicas alive than it should"),
    ];
    let name = |node: &NodeId| metadata.node(*node).map_or("", |node| node.name.as_str()).to_owned();
    let failed = health.failed.iter().map(|node| format!("server {node} ({}) is not alive", name(node)));
    let lost = health
        .lost
        .iter()
        .map(|node| format!("server {node} ({}) lost its data and is being replaced", name(node)));
    for (list, what) in &lists[..1] {
        problems.extend(list.first.iter().map(|id| format!("{} {what}", partition(metadata, *id))));
    }
    problems.extend(failed.chain(lost));
    for (list, what) in &lists[1..] {
        problems.extend(list.first.iter().map(|id| format!("{} {what}", partition(metadata, *id))));
    }
    problems.truncate(PROBLEMS_MAX);
    problems
}

fn partition(metadata: &Metadata, id: PartitionId) -> String {
    match metadata.partition_name(id) {
        Some((topic, number)) => format!("topic {topic} partition {number}"),
        None => format!("partition {id}"),
    }
}

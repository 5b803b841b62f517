//! How the cluster is, as this node knows it.

use varve_api::v1;
use varve_controller::ClusterHealth;

use crate::cluster::ClusterView;

/// Most problems that are named.
const PROBLEMS_MAX: usize = 100;

/// How the cluster is.
pub(crate) fn of(view: &ClusterView) -> v1::GetClusterHealthResponse {
    let state = view.state();
    let health = state.0.health(&view.liveness());
    let leader = view.controller_leader();
    let mut problems = Vec::new();
    if leader.is_none() {
        problems.push("the controller has no leader: most of its voters are away".to_owned());
    }
    problems.extend(health.problems());
    problems.truncate(PROBLEMS_MAX);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let ClusterHealth { partitions, leaderless, under_replicated, moving, damaged, dead, .. } = &health;
    v1::GetClusterHealthResponse {
        healthy: problems.is_empty(),
        controller_leader: leader.map(u64::from),
        partitions: count(*partitions),
        leaderless_partitions: count(*leaderless),
        under_replicated_partitions: count(*under_replicated),
        moving_partitions: count(*moving),
        damaged_replicas: count(*damaged),
        dead_servers: dead.iter().map(|node| node.get()).collect(),
        problems,
    }
}

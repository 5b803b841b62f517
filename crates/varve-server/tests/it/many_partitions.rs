//! Many partitions on few nodes.

use std::collections::BTreeMap;

use varve_api::v1;
use varve_replica::GroupTiming;
use varve_server::NodeConfig;

use crate::support::{TOPIC, values};
use crate::test_cluster::{TestCluster, until};

/// More than are opened at once.
const PARTITIONS: u32 = 100;

/// The partitions that each node leads, as the others know; `None` while one has no leader that runs.
async fn leaders(cluster: &TestCluster) -> Option<BTreeMap<usize, u32>> {
    let mut leaders = BTreeMap::new();
    for partition in cluster.describe(TOPIC).await.partitions {
        let leader = partition.leader.and_then(|id| cluster.number_of(id))?;
        *leaders.entry(leader).or_default() += 1;
    }
    Some(leaders)
}

async fn write_to_each(cluster: &TestCluster) {
    let any = *cluster.members.keys().next().unwrap();
    for partition in 0..PARTITIONS {
        cluster
            .produce_request(any, v1::ProduceRequest { partition: Some(partition), ..values(&["v"]) })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_are_led_by_all_nodes_and_by_the_rest_when_one_dies() {
    // In a debug build consensus checks itself at every step: that must not be what leaders are missed for.
    let slow = |config: &mut NodeConfig| {
        config.timing = GroupTiming { heartbeat_ms: 1_000, election_ms: 2_500 };
    };
    let mut cluster = TestCluster::start_with(3, slow).await;
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: PARTITIONS,
        replication_factor: 3,
        ..Default::default()
    };
    cluster.create_topic(request).await;
    cluster.healthy().await;
    // Those that others lead for now come to their preferred leaders.
    until(async || {
        let leaders = leaders(&cluster).await;
        let spread = leaders.as_ref().is_some_and(|leaders| leaders.len() == 3);
        (spread, leaders)
    })
    .await;
    write_to_each(&cluster).await;

    let gone = 1;
    cluster.kill(gone);
    until(async || {
        let leaders = leaders(&cluster).await;
        (leaders.is_some(), leaders)
    })
    .await;
    write_to_each(&cluster).await;

    cluster.join(gone).await;
    cluster.healthy().await;
    write_to_each(&cluster).await;
}

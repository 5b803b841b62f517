//! What a cluster's health counts beside who is alive and who leads.

use crate::support::TOPIC;
use crate::test_cluster::{TestCluster, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_by_whichever_server_is_asked() {
    let cluster = TestCluster::start(3).await;
    let full = cluster.member(2).id();
    cluster.disks[&2].set_capacity(Some(1));
    for number in 1..=3 {
        let health = until(async || {
            let health = cluster.health(number).await;
            (health.full_servers == [full] && !health.healthy, health)
        })
        .await;
        assert!(health.problems.iter().any(|problem| problem.contains("(node-2) is full")), "{health:?}");
    }
    cluster.disks[&2].set_capacity(None);
    cluster.healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_is_told_with_what_it_lacks() {
    let cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.transfer(TOPIC, 0, 1).await;
    cluster.transfer("", 0, 1).await;
    cluster.healthy().await;
    // Gossip goes on to see it.
    cluster.switchboard.isolate(3, [1, 2]);
    for value in ["one", "two", "three"] {
        cluster.produce(1, value).await;
    }
    for number in [1, 2] {
        let health = until(async || {
            let health = cluster.health(number).await;
            (health.lagging_replicas == 1 && !health.healthy, health)
        })
        .await;
        let lagging = health.servers.iter().flat_map(|server| &server.lagging).next().expect("it is named");
        assert_eq!((lagging.topic.as_str(), lagging.partition), (TOPIC, 0));
        assert_eq!((lagging.server, lagging.offsets), (cluster.member(3).id(), 3));
        assert!(lagging.lag_ms.is_some_and(|ms| ms >= 5_000), "{lagging:?}");
        let said = "the replica of topic events partition 0 on server 3 (node-3) lacks 3 records";
        assert!(health.problems.iter().any(|problem| problem.starts_with(said)), "{health:?}");
    }
    cluster.switchboard.heal();
    cluster.healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_there_are_no_servers_for_are_a_warning() {
    let mut cluster = TestCluster::start(1).await;
    cluster.create(3).await;
    let health = cluster.health(1).await;
    assert!(health.healthy);
    assert_eq!(health.short_partitions, 1);
    assert_eq!(health.warnings, ["topic events asks for 3 copies, and there is only 1 server"]);
    cluster.join(2).await;
    cluster.join(3).await;
    until(async || {
        let health = cluster.health(1).await;
        (health.warnings.is_empty() && health.healthy, health)
    })
    .await;
}

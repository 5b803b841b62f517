//! Calls about the cluster as a whole.

use varve_api::error::Reason;
use varve_api::v1::ServerState;
use varve_client::record::NodeId;

use crate::fake::{FakeCluster, TOPIC};
use crate::{connect, within};

#[tokio::test]
async fn makes_a_cluster_once() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.state().is_uninitialized = true;
        let client = connect(&cluster).await;
        assert_eq!(client.init_cluster().await.expect("there is none"), "fake");
        let again = client.init_cluster().await.expect_err("there is one");
        assert_eq!(again.reason(), Some(Reason::ClusterExists));
        assert_eq!(client.servers().await.expect("it is made").servers.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn tells_what_is_wrong() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        assert!(client.cluster_health().await.expect("it answers").healthy);
        cluster.tell(2, |server| server.alive = false);
        let health = client.cluster_health().await.expect("it answers");
        assert_eq!((health.healthy, health.dead_servers), (false, vec![2]));
    })
    .await;
}

#[tokio::test]
async fn moves_leadership() {
    within(async {
        let cluster = FakeCluster::start(3, 2).await;
        let client = connect(&cluster).await;
        let to = NodeId::new(2);
        assert_eq!(client.transfer_leadership(TOPIC, 1, Some(to)).await.expect("it is moved"), to);
        assert_eq!(client.trim_topic(TOPIC, 1, 5).await.expect("the new leader answers"), 5);
        assert_eq!(client.transfer_controller(Some(to)).await.expect("it is moved"), to);
        assert!(client.transfer_controller(None).await.is_ok());
        let nobody = client.transfer_leadership(TOPIC, 0, Some(NodeId::new(9))).await;
        assert_eq!(nobody.expect_err("there is none").reason(), Some(Reason::NodeNotFound));
    })
    .await;
}

#[tokio::test]
async fn takes_a_server_away_and_calls_it_off() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        let server = client.decommission(NodeId::new(1), false).await.expect("it is there");
        assert_eq!((server.id, server.state()), (1, ServerState::Draining));
        let server = client.decommission(NodeId::new(1), true).await.expect("it is there");
        assert_eq!(server.state(), ServerState::Active);
    })
    .await;
}

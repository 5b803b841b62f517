//! Which server is read.

use std::sync::Arc;

use varve_api::v1::ServerState;
use varve_client::record::NodeId;
use varve_client::{Client, ClientBuilder, Consumer, PickFewestOutstanding, PickLeader, ReadFrom};

use crate::fake::{FakeCluster, TOPIC};
use crate::{connect, until, within};

/// Opens a consumer that stays, and tells which server serves it.
async fn follow(cluster: &FakeCluster, client: &Client) -> (Consumer, usize) {
    let before = cluster.state().readers.len();
    let consumer = client.consumer(TOPIC).from(ReadFrom::Start).build().await.expect("it is there");
    until(|| cluster.state().readers.len() > before).await;
    let server = cluster.state().readers[before];
    (consumer, server)
}

async fn followed(cluster: &FakeCluster, client: &Client, consumers: usize) -> Vec<usize> {
    let mut servers = Vec::new();
    for _ in 0..consumers {
        servers.push(follow(cluster, client).await.1);
    }
    servers
}

async fn connect_by(cluster: &FakeCluster, builder: ClientBuilder) -> Client {
    builder.connect(&cluster.address()).await.expect("it is up")
}

#[tokio::test]
async fn followers_are_read_in_turn() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        assert_eq!(followed(&cluster, &client, 4).await, [1, 2, 1, 2]);
        client.transfer_leadership(TOPIC, 0, Some(NodeId::new(1))).await.expect("it is moved");
        let mut servers = followed(&cluster, &client, 2).await;
        servers.sort_unstable();
        assert_eq!(servers, [0, 2], "with no restart when the leader moves");
    })
    .await;
}

#[tokio::test]
async fn a_lone_server_is_read() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        assert_eq!(followed(&cluster, &connect(&cluster).await, 2).await, [0, 0]);
    })
    .await;
}

#[tokio::test]
async fn servers_that_are_away_or_leave_are_not_read() {
    within(async {
        let cluster = FakeCluster::start(4, 1).await;
        cluster.tell(1, |server| server.alive = false);
        cluster.tell(2, |server| server.set_state(ServerState::Draining));
        assert_eq!(followed(&cluster, &connect(&cluster).await, 3).await, [3, 3, 3]);
        cluster.tell(3, |server| server.alive = false);
        assert_eq!(followed(&cluster, &connect(&cluster).await, 2).await, [0, 0], "but the leader is");
    })
    .await;
}

#[tokio::test]
async fn the_own_rack_is_read() {
    within(async {
        let cluster = FakeCluster::start(4, 1).await;
        for (server, rack) in ["x", "x", "y", "y"].into_iter().enumerate() {
            cluster.tell(server, |server| server.rack = rack.into());
        }
        let near = |rack: &str| connect_by(&cluster, Client::builder().rack(rack));
        assert_eq!(followed(&cluster, &near("x").await, 2).await, [1, 1]);
        assert_eq!(followed(&cluster, &near("y").await, 4).await, [2, 3, 2, 3]);
        assert_eq!(followed(&cluster, &near("z").await, 3).await, [1, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn the_server_with_the_fewest_calls_is_read() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let picker = Arc::new(PickFewestOutstanding::default());
        let client = connect_by(&cluster, Client::builder().read_picker(picker)).await;
        let (_kept, busy) = follow(&cluster, &client).await;
        let mut consumer = client.consumer(TOPIC).until_end().build().await.expect("it is there");
        assert!(consumer.next().await.expect("nothing fails").is_none());
        // That one has ended, and is not counted any more.
        let (_kept, idle) = follow(&cluster, &client).await;
        assert_eq!(cluster.state().readers, [busy, idle, idle]);
        assert_ne!(busy, idle);
    })
    .await;
}

#[tokio::test]
async fn a_consumer_may_have_a_picker_of_its_own() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        let consumer = client.consumer(TOPIC).read_picker(Arc::new(PickLeader)).build().await;
        let _consumer = consumer.expect("it is there");
        until(|| !cluster.state().readers.is_empty()).await;
        assert_eq!(cluster.state().readers, [0]);
    })
    .await;
}

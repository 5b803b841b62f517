//! Several nodes: how they become one cluster, and stay one.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::sleep;
use tonic::transport::Endpoint;
use varve_api::error::{Reason, meta};
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::disk::FaultyDisk;
use varve_gossip::{MemoryNetwork, Tags};
use varve_server::{Discovery, FatalError, Node, NodeConfig, StartError};

use crate::support::{TOPIC, config, env_on, refused, values, within};
use crate::test_cluster::{LOOK, TestCluster, unforwarded, until};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_become_one_cluster_and_any_of_them_takes_any_call() {
    let cluster = TestCluster::start(3).await;
    let servers = cluster.servers().await;
    assert_eq!(servers.iter().map(|server| server.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(servers.iter().all(|server| server.alive && server.controller_voter));
    assert_eq!(servers.iter().filter(|server| server.is_leader).count(), 1);

    cluster.create(3).await;
    let partition = cluster.describe(TOPIC).await.partitions.remove(0);
    let mut replicas = partition.replicas;
    replicas.sort_unstable();
    assert_eq!(replicas, [1, 2, 3]);
    let mut written = Vec::new();
    for (turn, number) in [1, 2, 3, 3, 1, 2].into_iter().enumerate() {
        let value = format!("value {turn}");
        assert_eq!(cluster.produce(number, &value).await, turn as u64);
        written.push(value);
    }
    for number in 1..=3 {
        assert_eq!(cluster.values(number, written.len()).await, written, "node {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_the_servers_hears_each_second_that_the_server_is_there() {
    let cluster = TestCluster::start(1).await;
    let mut client = cluster.any().cluster.clone();
    let mut watch = within(client.watch_servers(v1::WatchServersRequest {})).await.unwrap().into_inner();
    let first = within(watch.message()).await.unwrap().unwrap();
    assert_eq!(first.servers.unwrap().servers.len(), 1);
    // What changes still, such as who leads, is told in between.
    while within(watch.message()).await.unwrap().expect("it goes on").servers.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_it_is_told_the_leader_instead_of_being_handed_on() {
    let cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|number| *number != leader).unwrap();
    let mut log = cluster.member(follower).log.clone();
    let error = refused(within(log.produce(unforwarded(values(&["v"])))).await, Reason::NotLeader);
    assert_eq!(error.number(meta::LEADER_ID), Some(cluster.member(leader).node.identity().node_id.get()));
    assert_eq!(error.get(meta::LEADER_ADDR), Some(&*cluster.member(leader).node.rpc_addr().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_stream_through_a_follower_keeps_its_order() {
    let cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|number| *number != leader).unwrap();
    let count = 300;
    let requests = (1..=count)
        .map(|id| v1::ProduceStreamRequest { request_id: id, batch: Some(values(&[&id.to_string()])) });
    let mut log = cluster.member(follower).log.clone();
    let answers = within(log.produce_stream(futures::stream::iter(requests))).await.unwrap();
    let mut answers = answers.into_inner();
    for id in 1..=count {
        let answer = within(answers.message()).await.unwrap().expect("an answer for each");
        assert_eq!(answer.request_id, id);
        let Some(v1::produce_stream_response::Result::Ack(ack)) = answer.result else {
            panic!("refused: {answer:?}")
        };
        assert_eq!(ack.first_offset, Some(id - 1));
    }
    assert_eq!(within(answers.message()).await.unwrap(), None);
    let expected: Vec<String> = (1..=count).map(|id| id.to_string()).collect();
    assert_eq!(cluster.values(follower, count as usize).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_crashes_is_followed_by_another_and_loses_nothing() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    let mut written = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader().await;
        for turn in 0..5 {
            let value = format!("{round}.{turn}");
            let offset = cluster.produce(leader, &value).await;
            assert_eq!(offset, written.len() as u64);
            written.push(value);
        }
        cluster.crash(leader).await;
        let value = format!("{round} without node {leader}");
        let survivor = *cluster.members.keys().next().unwrap();
        assert_eq!(cluster.produce(survivor, &value).await, written.len() as u64);
        written.push(value);
        cluster.join(leader).await;
        for number in 1..=3 {
            assert_eq!(cluster.values(number, written.len()).await, written, "node {number}");
        }
    }
    cluster.healthy().await;
}

/// With two of three gone no other is ever elected.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_gone_is_not_named() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    let one = v1::CreateTopicRequest {
        name: "single".to_owned(),
        partitions: 3,
        replication_factor: 1,
        ..Default::default()
    };
    cluster.create_topic(one).await;
    cluster.transfer("", 0, 1).await;
    cluster.transfer(TOPIC, 0, 1).await;
    cluster.kill(1);
    cluster.kill(2);
    let leaders = async || {
        let servers = cluster.servers().await;
        let of_controller = servers.iter().find(|server| server.is_leader).map(|server| server.id);
        let mut led: Vec<u64> = servers.iter().filter(|server| server.leaders > 0).map(|s| s.id).collect();
        led.sort_unstable();
        let mut of_topics = cluster.describe(TOPIC).await.partitions;
        of_topics.extend(cluster.describe("single").await.partitions);
        let named: Vec<_> = of_topics.iter().filter_map(|partition| partition.leader).collect();
        let health = cluster.health(3).await;
        (of_controller, led, named, health.controller_leader, health.leaderless_partitions)
    };
    until(async || {
        let found = leaders().await;
        // What lies on the one that is left alone is led still.
        (found == (None, vec![3], vec![3], None, 3), found)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_hands_leadership_over_and_keeps_the_place() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "first").await;
    let leader = cluster.leader().await;
    let id = cluster.member(leader).node.identity().clone();
    cluster.stop(leader).await;
    assert_ne!(cluster.leader().await, leader);
    let survivor = *cluster.members.keys().next().unwrap();
    cluster.produce(survivor, "second").await;
    cluster.join(leader).await;
    assert_eq!(*cluster.member(leader).node.identity(), id);
    assert_eq!(cluster.values(leader, 2).await, ["first", "second"]);
    cluster.healthy().await;
    assert_eq!(cluster.servers().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_get_their_replicas_as_nodes_join() {
    let mut cluster = TestCluster::start(1).await;
    cluster.create(3).await;
    cluster.produce(1, "early").await;
    assert_eq!(cluster.describe(TOPIC).await.partitions[0].replicas, [1]);
    cluster.join(2).await;
    cluster.join(3).await;
    within(async {
        while cluster.describe(TOPIC).await.partitions[0].replicas.len() < 3 {
            sleep(LOOK).await;
        }
    })
    .await;
    cluster.healthy().await;
    // The record lies on each of them: any one may go.
    cluster.crash(1).await;
    cluster.produce(2, "late").await;
    for number in [2, 3] {
        assert_eq!(cluster.values(number, 2).await, ["early", "late"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decommissioned_node_gives_up_everything_and_leaves() {
    let mut cluster = TestCluster::start(4).await;
    cluster.create(3).await;
    cluster.produce(1, "kept").await;
    let leaver = cluster.leader().await;
    let id = cluster.member(leaver).node.identity().node_id.get();
    let mut client = cluster.any().cluster.clone();
    let failed = cluster.member(leaver).node.failed();
    within(client.decommission_server(v1::DecommissionServerRequest { id, cancel: false })).await.unwrap();
    assert!(matches!(within(failed).await, FatalError::Decommissioned { .. }));
    cluster.crash(leaver).await;
    assert!(cluster.servers().await.iter().all(|server| server.id != id));
    cluster.healthy().await;
    let partition = cluster.describe(TOPIC).await.partitions.remove(0);
    assert!(!partition.replicas.contains(&id), "{partition:?}");
    assert_eq!(partition.replicas.len(), 3);
    for number in cluster.members.keys() {
        assert_eq!(cluster.values(*number, 1).await, ["kept"], "node {number}");
    }
    // It is told, should it come back.
    let settings = cluster.settings(leaver);
    let disk = cluster.disks[&leaver].clone();
    let error = within(Node::start(env_on(&disk), settings)).await.expect_err("it has no place any more");
    assert!(matches!(error, StartError::Removed { .. }), "{error}");
    assert!(error.to_string().contains("was decommissioned"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_comes_back_as_a_new_one() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "kept").await;
    cluster.crash(3).await;
    cluster.disks.remove(&3);
    cluster.join(3).await;
    assert_eq!(cluster.member(3).node.identity().node_id.get(), 4);
    within(async {
        while cluster.servers().await.iter().any(|server| server.id == 3) {
            sleep(LOOK).await;
        }
    })
    .await;
    cluster.healthy().await;
    let mut replicas = cluster.describe(TOPIC).await.partitions.remove(0).replicas;
    replicas.sort_unstable();
    assert_eq!(replicas, [1, 2, 4]);
    assert_eq!(cluster.values(3, 1).await, ["kept"]);
    assert_eq!(cluster.produce(3, "more").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_not_told_to_bootstrap_wait_to_be_told_to_make_a_cluster() {
    let gossip = MemoryNetwork::new();
    let settings = |number: u16| {
        let gossip_addr = SocketAddr::from(([127, 0, 0, 1], number));
        let membership = gossip.join(format!("node-{number}"), gossip_addr, Tags::new());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        NodeConfig {
            node_name: format!("node-{number}"),
            bootstrap: false,
            rpc_addr: port,
            discovery: Discovery::Given(Arc::new(membership)),
            ..config()
        }
    };
    let (first, second) = (settings(1), settings(2));
    let addr = first.rpc_addr;
    let (disk_1, disk_2) = (FaultyDisk::new(1), FaultyDisk::new(2));
    let starting = tokio::spawn(async move {
        tokio::join!(Node::start(env_on(&disk_1), first), Node::start(env_on(&disk_2), second))
    });
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let channel = within(async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(_) => sleep(LOOK).await,
            }
        }
    })
    .await;
    let mut log = LogServiceClient::new(channel.clone());
    refused(within(log.produce(values(&["too early"]))).await, Reason::NotInitialized);
    let mut cluster = ClusterServiceClient::new(channel);
    let made = within(cluster.init_cluster(v1::InitClusterRequest {})).await.unwrap().into_inner();
    let (first, second) = within(starting).await.unwrap();
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.identity().cluster_id, made.cluster_id);
    assert_eq!(second.identity().cluster_id, made.cluster_id);
    refused(within(cluster.init_cluster(v1::InitClusterRequest {})).await, Reason::ClusterExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cluster_is_made_beside_another() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "kept").await;
    // Its disk is gone, and it is told to make a cluster as on its first day.
    cluster.crash(1).await;
    let settings = NodeConfig { bootstrap: true, ..cluster.settings(1) };
    let refusal = within(Node::start(env_on(&FaultyDisk::new(9)), settings)).await.expect_err("there is one");
    assert!(matches!(refusal, StartError::ClusterExists { .. }), "{refusal}");
    assert_eq!(cluster.values(2, 1).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_made_beside_another_unseen_ends() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.crash(1).await;
    cluster.gossip.partition(&["node-2", "node-3"]);
    let settings = NodeConfig { bootstrap: true, ..cluster.settings(1) };
    let second = within(Node::start(env_on(&FaultyDisk::new(9)), settings)).await.expect("it sees nobody");
    cluster.gossip.heal();
    let error = within(second.failed()).await;
    assert!(matches!(error, FatalError::SecondCluster { .. }), "{error}");
}

/// A follower may be behind, and whoever has no replica knows nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_described_as_its_leaders_know_it() {
    let cluster = TestCluster::start(3).await;
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: 3,
        replication_factor: 1,
        ..Default::default()
    };
    cluster.create_topic(request).await;
    for partition in 0..3 {
        let request = v1::ProduceRequest { partition: Some(partition), ..values(&["one", "two"]) };
        cluster.produce_request(1, request).await;
    }
    for number in 1..=3 {
        let mut client = cluster.member(number).cluster.clone();
        let request = v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing: false };
        until(async || {
            let all = client.describe_topic(request.clone()).await.unwrap().into_inner().topic.unwrap();
            let known = |partition: &v1::Partition| {
                partition.high_watermark == Some(2) && partition.seen_by == partition.leader
            };
            (all.partitions.iter().all(known), all)
        })
        .await;
        let own =
            within(client.describe_topic(unforwarded(request))).await.unwrap().into_inner().topic.unwrap();
        let this = cluster.member(number).id();
        let seen: Vec<_> = own.partitions.iter().filter_map(|partition| partition.seen_by).collect();
        assert_eq!(seen, [this], "what is not asked for by way of others is the node's own view");
    }
}

//! Several nodes: how they become one cluster, and stay one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use varve_api::error::{ApiError, Reason, meta};
use varve_api::headers;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_gossip::{MemoryNetwork, Tags};
use varve_server::{Discovery, FatalError, Node, NodeConfig};

use crate::support::{SOON, TOPIC, config, connect, consume_from, env_on, refused, text, values, within};

/// How long a test waits before it looks again.
const LOOK: Duration = Duration::from_millis(20);

/// Nodes on disks in memory, that know of each other by a double of gossip, and speak over real sockets.
struct TestCluster {
    gossip: MemoryNetwork,
    members: BTreeMap<usize, Member>,
    disks: BTreeMap<usize, FaultyDisk>,
}

struct Member {
    node: Node,
    log: LogServiceClient<Channel>,
    cluster: ClusterServiceClient<Channel>,
}

impl TestCluster {
    /// A cluster of nodes 1 to `count`, each a voter or a learner of the controller as it should be.
    async fn start(count: usize) -> Self {
        let mut cluster =
            Self { gossip: MemoryNetwork::new(), members: BTreeMap::new(), disks: BTreeMap::new() };
        for number in 1..=count {
            cluster.join(number).await;
        }
        cluster.healthy().await;
        cluster
    }

    fn name(number: usize) -> String {
        format!("node-{number}")
    }

    fn settings(&self, number: usize) -> NodeConfig {
        let gossip_addr = SocketAddr::from(([127, 0, 0, 1], 1000 + number as u16));
        let membership = self.gossip.join(Self::name(number), gossip_addr, Tags::new());
        NodeConfig {
            node_name: Self::name(number),
            bootstrap: number == 1 && !self.disks.contains_key(&1),
            discovery: Discovery::Given(Arc::new(membership)),
            replacement_delay: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(2),
            ..config()
        }
    }

    /// Starts a node, on its disk if it had one.
    async fn join(&mut self, number: usize) {
        let settings = self.settings(number);
        let disk = self.disks.entry(number).or_insert_with(|| FaultyDisk::new(number as u64)).clone();
        let node = within(Node::start(env_on(&disk), settings)).await.expect("the node starts");
        let channel = connect(&node).await;
        let (log, cluster) = (LogServiceClient::new(channel.clone()), ClusterServiceClient::new(channel));
        self.members.insert(number, Member { node, log, cluster });
    }

    /// Ends a node as a crash does: what was not synced is lost. Returns once the others know who leads [`TOPIC`]: what they hand on to a node that crashes may have been appended, or not.
    async fn crash(&mut self, number: usize) {
        let member = self.members.remove(&number).expect("it runs");
        let disk = self.disks[&number].crash(CrashMode::SyncedOnly);
        self.disks.insert(number, disk);
        self.gossip.fail(&Self::name(number));
        drop(member);
        for number in self.members.keys() {
            self.leader_by(*number).await;
        }
    }

    async fn stop(&mut self, number: usize) {
        let member = self.members.remove(&number).expect("it runs");
        within(member.node.shutdown()).await.expect("a clean stop");
    }

    fn any(&self) -> &Member {
        self.members.values().next().expect("a node runs")
    }

    fn member(&self, number: usize) -> &Member {
        &self.members[&number]
    }

    async fn servers(&self) -> Vec<v1::Server> {
        let mut cluster = self.any().cluster.clone();
        within(cluster.get_servers(v1::GetServersRequest {})).await.unwrap().into_inner().servers
    }

    /// Waits until every running node says that all is well, and the controller has the voters that it should.
    async fn healthy(&self) {
        for member in self.members.values() {
            let mut cluster = member.cluster.clone();
            let mut last = None;
            let healthy = async {
                loop {
                    let health = cluster.get_cluster_health(v1::GetClusterHealthRequest {}).await;
                    let servers = self.servers().await;
                    let voters = servers.iter().filter(|server| server.controller_voter).count();
                    let wanted = match servers.len() {
                        1 | 2 => 1,
                        3 | 4 => 3,
                        _ => 5,
                    };
                    if let Ok(health) = &health {
                        let health = health.get_ref();
                        if health.healthy && health.moving_partitions == 0 && voters == wanted {
                            return;
                        }
                    }
                    last = Some((health, servers));
                    sleep(LOOK).await;
                }
            };
            let in_time = tokio::time::timeout(SOON, healthy).await;
            in_time.unwrap_or_else(|_| panic!("not healthy: {last:?}"));
        }
    }

    async fn describe(&self, topic: &str) -> v1::Topic {
        let mut cluster = self.any().cluster.clone();
        let request = v1::DescribeTopicRequest { name: topic.to_owned(), create_missing: false };
        within(cluster.describe_topic(request)).await.unwrap().into_inner().topic.unwrap()
    }

    /// The number of the running node with an id.
    fn number_of(&self, id: u64) -> Option<usize> {
        let found = self.members.iter().find(|(_, member)| member.node.identity().node_id.get() == id);
        found.map(|(number, _)| *number)
    }

    /// The running node that leads partition 0 of [`TOPIC`].
    async fn leader(&self) -> usize {
        let any = *self.members.keys().next().expect("a node runs");
        self.leader_by(any).await
    }

    /// The same, as one of them says.
    async fn leader_by(&self, number: usize) -> usize {
        let mut cluster = self.member(number).cluster.clone();
        let request = v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing: false };
        within(async {
            loop {
                let topic =
                    cluster.describe_topic(request.clone()).await.unwrap().into_inner().topic.unwrap();
                if let Some(number) = topic.partitions[0].leader.and_then(|id| self.number_of(id)) {
                    return number;
                }
                sleep(LOOK).await;
            }
        })
        .await
    }

    async fn create(&self, replication_factor: u32) {
        let mut cluster = self.any().cluster.clone();
        let request = v1::CreateTopicRequest {
            name: TOPIC.to_owned(),
            partitions: 1,
            replication_factor,
            ..Default::default()
        };
        within(cluster.create_topic(request)).await.expect("the topic is made");
    }

    /// Produces one record through a node, whichever leads; once more where it surely was not appended.
    async fn produce(&self, number: usize, value: &str) -> u64 {
        let mut log = self.member(number).log.clone();
        within(async {
            loop {
                match log.produce(values(&[value])).await {
                    Ok(answer) => return answer.into_inner().first_offset.unwrap(),
                    Err(status) => {
                        let error = ApiError::from_status(&status);
                        assert!(!error.reason.may_have_happened(), "{error}");
                        assert_eq!(error.reason.code(), Code::Unavailable, "{error}");
                    }
                }
            }
        })
        .await
    }

    /// All values that a node answers, read until there are `count`.
    async fn values(&self, number: usize, count: usize) -> Vec<String> {
        let mut log = self.member(number).log.clone();
        let mut found = Vec::new();
        within(async {
            while found.len() < count {
                let request = v1::ConsumeRequest { max_wait: None, ..consume_from(found.len() as u64) };
                match log.consume(request).await {
                    Ok(piece) => {
                        let records = piece.into_inner().records;
                        found.extend(records.iter().map(|record| text(record.value.as_ref().unwrap())));
                    }
                    Err(status) => {
                        let error = ApiError::from_status(&status);
                        assert_eq!(error.reason.code(), Code::Unavailable, "{error}");
                    }
                }
            }
        })
        .await;
        found
    }
}

/// Says that the call is not to be handed on.
fn unforwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(headers::FORWARD, headers::FORWARD_NEVER.parse().unwrap());
    request
}

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
    assert!(matches!(within(failed).await, FatalError::TakenOut { .. }));
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
    assert!(error.to_string().contains("was taken out of its cluster"), "{error}");
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
async fn a_cluster_that_was_made_beside_another_ends() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "kept").await;
    // Its disk is gone, and it is told to make a cluster as on its first day.
    cluster.crash(1).await;
    let settings = NodeConfig { bootstrap: true, ..cluster.settings(1) };
    let second = within(Node::start(env_on(&FaultyDisk::new(9)), settings)).await.expect("it starts");
    let error = within(second.failed()).await;
    assert!(matches!(error, FatalError::SecondCluster { .. }), "{error}");
    drop(second);
    assert_eq!(cluster.values(2, 1).await, ["kept"]);
}

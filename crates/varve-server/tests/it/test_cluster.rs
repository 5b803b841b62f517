//! Several nodes in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Request};
use varve_api::error::ApiError;
use varve_api::headers;
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::Env;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_gossip::{MemoryNetwork, Tags};
use varve_server::{Discovery, Node, NodeConfig, StartError};

use crate::support::{SOON, TOPIC, config, connect, consume_from, env_on, text, values, within};
use crate::switchboard::Switchboard;

/// How long a test waits before it looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Nodes that know of each other by a double of gossip, and speak over real sockets that can be cut. Their disks are in
/// memory, unless directories are asked for.
pub(crate) struct TestCluster {
    pub(crate) gossip: MemoryNetwork,
    pub(crate) switchboard: Switchboard,
    pub(crate) members: BTreeMap<usize, Member>,
    pub(crate) disks: BTreeMap<usize, FaultyDisk>,
    /// Where the directories are, and which of them each node has.
    dirs: Option<(TempDir, BTreeMap<usize, usize>)>,
    adjust: fn(&mut NodeConfig),
}

pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) log: LogServiceClient<Channel>,
    pub(crate) cluster: ClusterServiceClient<Channel>,
}

impl Member {
    pub(crate) fn id(&self) -> u64 {
        self.node.identity().node_id.get()
    }
}

impl TestCluster {
    /// A cluster of nodes 1 to `count`, each a voter or a learner of the controller as it should be.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// The same, with other settings than tests have.
    pub(crate) async fn start_with(count: usize, adjust: fn(&mut NodeConfig)) -> Self {
        Self::on(None, adjust).begin(count).await
    }

    /// The same, on real directories.
    pub(crate) async fn start_on_directories(count: usize, adjust: fn(&mut NodeConfig)) -> Self {
        let dir = TempDir::new().unwrap();
        Self::on(Some((dir, BTreeMap::new())), adjust).begin(count).await
    }

    fn on(dirs: Option<(TempDir, BTreeMap<usize, usize>)>, adjust: fn(&mut NodeConfig)) -> Self {
        let (gossip, switchboard) = (MemoryNetwork::new(), Switchboard::default());
        Self { gossip, switchboard, members: BTreeMap::new(), disks: BTreeMap::new(), dirs, adjust }
    }

    async fn begin(mut self, count: usize) -> Self {
        for number in 1..=count {
            self.join(number).await;
        }
        self.healthy().await;
        self
    }

    pub(crate) fn name(number: usize) -> String {
        format!("node-{number}")
    }

    pub(crate) fn settings(&self, number: usize) -> NodeConfig {
        let gossip_addr = SocketAddr::from(([127, 0, 0, 1], 1000 + number as u16));
        let membership = self.gossip.join(Self::name(number), gossip_addr, Tags::new());
        let mut settings = NodeConfig {
            node_name: Self::name(number),
            bootstrap: number == 1 && !self.disks.contains_key(&1),
            discovery: Discovery::Given(Arc::new(membership)),
            replacement_delay: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(2),
            ..config()
        };
        if let Some(dir) = self.dir(number) {
            settings.data_dir = dir;
        }
        (self.adjust)(&mut settings);
        settings
    }

    /// A node's directory, where the cluster has some.
    pub(crate) fn dir(&self, number: usize) -> Option<PathBuf> {
        let (root, lives) = self.dirs.as_ref()?;
        let life = lives.get(&number).copied().unwrap_or_default();
        Some(root.path().join(format!("node-{number}-{life}")))
    }

    /// Starts a node, on its disk if it had one.
    pub(crate) async fn join(&mut self, number: usize) {
        self.try_join(number).await.expect("the node starts");
    }

    pub(crate) async fn try_join(&mut self, number: usize) -> Result<(), StartError> {
        let settings = self.settings(number);
        let disk = self.disks.entry(number).or_insert_with(|| FaultyDisk::new(number as u64)).clone();
        let env = if self.dirs.is_some() { Env::real() } else { env_on(&disk) };
        let env = Env { network: self.switchboard.network_of(number), ..env };
        let node = within(Node::start(env, settings)).await?;
        let channel = connect(&node).await;
        let log = LogServiceClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let cluster = ClusterServiceClient::new(channel);
        self.members.insert(number, Member { node, log, cluster });
        Ok(())
    }

    /// Ends a node as a crash does: what was not synced is lost.
    pub(crate) fn kill(&mut self, number: usize) {
        let member = self.members.remove(&number).expect("it runs");
        let disk = self.disks[&number].crash(CrashMode::SyncedOnly);
        self.disks.insert(number, disk);
        self.gossip.fail(&Self::name(number));
        drop(member);
    }

    /// The same; returns once the others know who leads [`TOPIC`]: what they hand on to a node that crashes may have been
    /// appended, or not.
    pub(crate) async fn crash(&mut self, number: usize) {
        self.kill(number);
        for number in self.members.keys() {
            self.leader_by(*number).await;
        }
    }

    /// A node that does not run has an empty disk from now on.
    pub(crate) fn lose_disk(&mut self, number: usize) {
        self.disks.remove(&number);
        if let Some((_, lives)) = &mut self.dirs {
            *lives.entry(number).or_default() += 1;
        }
    }

    /// Kills all nodes but one.
    pub(crate) fn kill_all_but(&mut self, kept: usize) {
        let rest: Vec<usize> = self.members.keys().copied().filter(|number| *number != kept).collect();
        rest.into_iter().for_each(|number| self.kill(number));
    }

    pub(crate) async fn stop(&mut self, number: usize) {
        let member = self.members.remove(&number).expect("it runs");
        within(member.node.shutdown()).await.expect("a clean stop");
    }

    pub(crate) fn any(&self) -> &Member {
        self.members.values().next().expect("a node runs")
    }

    pub(crate) fn member(&self, number: usize) -> &Member {
        &self.members[&number]
    }

    pub(crate) async fn servers(&self) -> Vec<v1::Server> {
        let mut cluster = self.any().cluster.clone();
        within(cluster.get_servers(v1::GetServersRequest {})).await.unwrap().into_inner().servers
    }

    /// What a node says of the cluster's health.
    pub(crate) async fn health(&self, number: usize) -> v1::GetClusterHealthResponse {
        let mut cluster = self.member(number).cluster.clone();
        within(cluster.get_cluster_health(v1::GetClusterHealthRequest {})).await.unwrap().into_inner()
    }

    /// Waits until every running node says that all is well, and the controller has the voters that it should.
    pub(crate) async fn healthy(&self) {
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

    pub(crate) async fn describe(&self, topic: &str) -> v1::Topic {
        self.describe_by(self.any(), topic).await
    }

    /// The same, as one of them says.
    pub(crate) async fn describe_by(&self, member: &Member, topic: &str) -> v1::Topic {
        let mut cluster = member.cluster.clone();
        let request = v1::DescribeTopicRequest { name: topic.to_owned(), create_missing: false };
        within(cluster.describe_topic(request)).await.unwrap().into_inner().topic.unwrap()
    }

    /// The number of the running node with an id.
    pub(crate) fn number_of(&self, id: u64) -> Option<usize> {
        let found = self.members.iter().find(|(_, member)| member.id() == id);
        found.map(|(number, _)| *number)
    }

    /// The running node that leads partition 0 of [`TOPIC`].
    pub(crate) async fn leader(&self) -> usize {
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

    pub(crate) async fn create(&self, replication_factor: u32) {
        self.create_topic(v1::CreateTopicRequest {
            name: TOPIC.to_owned(),
            partitions: 1,
            replication_factor,
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn create_topic(&self, request: v1::CreateTopicRequest) {
        let mut cluster = self.any().cluster.clone();
        within(cluster.create_topic(request)).await.expect("the topic is made");
    }

    /// Has a node lead a partition; of no topic, the controller.
    pub(crate) async fn transfer(&self, topic: &str, partition: u32, number: usize) {
        let mut cluster = self.any().cluster.clone();
        let to = Some(self.member(number).id());
        let request = v1::TransferLeadershipRequest { topic: topic.to_owned(), partition, to };
        // Whoever has just begun to follow lacks too much to lead.
        let _led = until(async || {
            let led = cluster.transfer_leadership(request.clone()).await;
            (led.as_ref().is_ok_and(|led| Some(led.get_ref().leader) == to), led)
        })
        .await;
    }

    /// Produces one record through a node, whichever leads; once more where it surely was not appended.
    pub(crate) async fn produce(&self, number: usize, value: &str) -> u64 {
        self.produce_request(number, values(&[value])).await
    }

    /// The same with any request.
    pub(crate) async fn produce_request(&self, number: usize, request: v1::ProduceRequest) -> u64 {
        let mut log = self.member(number).log.clone();
        within(async {
            loop {
                match log.produce(request.clone()).await {
                    Ok(answer) => return answer.into_inner().first_offset.unwrap(),
                    Err(status) => {
                        let error = ApiError::from_status(&status);
                        assert!(!error.reason.may_have_happened(), "{error}");
                        assert_eq!(error.reason.code(), Code::Unavailable, "{error}");
                        sleep(LOOK).await;
                    }
                }
            }
        })
        .await
    }

    /// Every batch that a node's own replica keeps of partition 0 of [`TOPIC`], byte for byte, up to `until`, which it waits for.
    pub(crate) async fn stored(&self, number: usize, until: u64) -> Stored {
        let mut log = self.member(number).log.clone();
        let mut found = Stored { log_start_offset: 0, batches: Vec::new() };
        let mut next = None;
        let mut last = None;
        let read = async {
            while next.is_none_or(|next| next < until) {
                let from = next.map(|next| consume_from(next).from.unwrap());
                let format = v1::ReadFormat::Batches.into();
                let request = v1::ConsumeRequest { from, format, ..consume_from(0) };
                match log.consume(unforwarded(request)).await {
                    Ok(piece) => {
                        let piece = piece.into_inner();
                        if next.is_none() {
                            found.log_start_offset = piece.log_start_offset;
                        }
                        next = Some(piece.next_offset).filter(|_| !piece.batches.is_empty()).or(next);
                        found.batches.extend(piece.batches.into_iter().map(|batch| batch.data));
                    }
                    Err(status) => {
                        let error = ApiError::from_status(&status);
                        // Until the replica is there it is not, or trails.
                        let waits = [Code::Unavailable, Code::OutOfRange].contains(&error.reason.code());
                        assert!(waits, "{error}");
                        last = Some(error);
                        sleep(LOOK).await;
                    }
                }
            }
        };
        if tokio::time::timeout(SOON, read).await.is_err() {
            panic!("node {number} has no more than {next:?} of {until}: {last:?}");
        }
        found
    }

    /// All values that a node answers, read until there are `count`.
    pub(crate) async fn values(&self, number: usize, count: usize) -> Vec<String> {
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

/// What a replica keeps.
#[derive(PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) log_start_offset: u64,
    pub(crate) batches: Vec<Bytes>,
}

/// Waits until something is so, and says what it was last where it never comes to that.
pub(crate) async fn until<T: std::fmt::Debug>(mut look: impl AsyncFnMut() -> (bool, T)) -> T {
    let mut last = None;
    let wait = async {
        loop {
            match look().await {
                (true, found) => return found,
                (false, found) => last = Some(found),
            }
            sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(SOON, wait).await;
    found.unwrap_or_else(|_| panic!("it did not come about: {last:?}"))
}

/// Says that the call is not to be handed on.
pub(crate) fn unforwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(headers::FORWARD, headers::FORWARD_NEVER.parse().unwrap());
    request
}

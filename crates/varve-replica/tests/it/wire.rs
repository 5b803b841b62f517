//! A group over real connections.

use crate::cluster::until;
use crate::command_log::{LONG, Sum};
use crate::fixture::{batch, produce, values, within};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::net::{Listener, Network, TcpNetwork};
use varve_env::{Env, ManualClock};
use varve_net::{OpenGate, PeerClient, PeerIdentity, serve_peer};
use varve_record::{NodeId, Offset, PartitionId};
use varve_replica::{
    CommandLog, CommandLogSettings, Consistency, GroupSettings, GroupTiming, Partition, PartitionSettings,
    Peers, ProduceError, WireNetwork,
};
use varve_storage::{PartitionConfig, Retention, Storage, StorageConfig};

const ID: PartitionId = PartitionId::new(3);
const COMMANDS: PartitionId = PartitionId::new(0);
const VOTERS: [u64; 3] = [1, 2, 3];

type Addresses = Arc<Mutex<BTreeMap<u64, SocketAddr>>>;

/// A node with its disk and its listener.
struct Host {
    number: u64,
    disk: FaultyDisk,
    env: Env,
    storage: Storage,
    peers: Peers,
    addresses: Addresses,
    serving: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Host {
    async fn start(number: u64, disk: FaultyDisk, addresses: &Addresses) -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let env = Env { disk: Arc::new(disk.clone()), clock, ..Env::real() };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        let known = Arc::clone(addresses);
        let lookup = Arc::new(move |node| Some(known.lock().unwrap().get(&node)?.to_string()));
        let (network, entropy) = (Arc::clone(&env.network), Arc::clone(&env.entropy));
        let client = PeerClient::new(network, entropy, identity(number), lookup);
        let peers = Peers::new(NodeId::new(number), Arc::new(WireNetwork::new(client, &env.telemetry)));
        let serving = tokio::spawn(std::future::pending());
        let addresses = Arc::clone(addresses);
        let mut host = Self { number, disk, env, storage, peers, addresses, serving };
        host.listen().await;
        host
    }

    /// Listens at a new address; all connections that were made to the one before are lost.
    async fn listen(&mut self) {
        let listener = TcpNetwork.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        self.addresses.lock().unwrap().insert(self.number, listener.local_addr().unwrap());
        self.serving.abort();
        self.serving = tokio::spawn(serve(listener, identity(self.number), self.peers.clone()));
    }

    fn group(&self, voters: &[u64]) -> GroupSettings {
        let timing = GroupTiming { heartbeat_ms: 50, election_ms: 300 };
        let voters = voters.iter().copied().map(NodeId::new).collect();
        GroupSettings { timing, voters, ..GroupSettings::default() }
    }

    async fn partition(&self, voters: &[u64]) -> Partition {
        let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
        let settings = PartitionSettings { log, retention: Retention::default() };
        let group = self.group(voters);
        let joined = Partition::join(&self.env, &self.storage, ID, &self.peers, settings, &group);
        within(joined).await.unwrap()
    }

    async fn commands(&self, voters: &[u64]) -> CommandLog<Sum> {
        let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
        let settings = CommandLogSettings { log, snapshot_entries: 4, snapshot_bytes: 1 << 20 };
        let (env, storage, group) = (&self.env, &self.storage, self.group(voters));
        let joined =
            CommandLog::join_with(env, storage, COMMANDS, &self.peers, &group, Sum::default(), settings);
        within(joined).await.unwrap()
    }
}

fn identity(node: u64) -> PeerIdentity {
    PeerIdentity { cluster: [1; 16], node }
}

async fn serve(listener: Box<dyn Listener>, this: PeerIdentity, peers: Peers) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let peers = peers.clone();
        connections.spawn(async move { serve_peer(stream, this, &peers, &OpenGate).await });
    }
}

/// A node with a replica of the partition.
struct Node {
    partition: Partition,
    host: Host,
}

async fn start(number: u64, voters: &[u64], addresses: &Addresses) -> Node {
    restart(number, FaultyDisk::new(number), voters, addresses).await
}

async fn restart(number: u64, disk: FaultyDisk, voters: &[u64], addresses: &Addresses) -> Node {
    let host = Host::start(number, disk, addresses).await;
    Node { partition: host.partition(voters).await, host }
}

async fn three(addresses: &Addresses) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in VOTERS {
        nodes.push(start(number, &VOTERS, addresses).await);
    }
    nodes
}

async fn append(nodes: &[Node], value: &str) -> Offset {
    loop {
        for node in nodes {
            match within(node.partition.produce(produce(batch(&[value])))).await {
                Ok(produced) => return produced.first_offset.unwrap(),
                Err(ProduceError::NotLeader { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// The place of the node that leads.
async fn leader(nodes: &[Node]) -> usize {
    let leads = |node: &Node| node.partition.progress().leader == Some(NodeId::new(node.host.number));
    until("a leader is known", || nodes.iter().position(leads)).await
}

fn names(count: u64) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn three_nodes_agree_over_sockets() {
    let addresses = Addresses::default();
    let nodes = three(&addresses).await;
    let expected = names(50);
    for (n, value) in expected.iter().enumerate() {
        assert_eq!(within(append(&nodes, value)).await, Offset::new(n as u64));
    }
    for node in &nodes {
        let seen = within(node.partition.barrier(Consistency::Linearizable)).await.unwrap();
        assert_eq!(seen, Offset::new(50), "followers ask the leader over the wire");
        assert_eq!(values(&node.partition, 0).await, expected);
    }
    // A large batch travels like a small one.
    let large = "x".repeat(1_000_000);
    within(append(&nodes, &large)).await;
    for node in &nodes {
        within(node.partition.wait_applied(Offset::new(51))).await.unwrap();
        assert_eq!(values(&node.partition, 50).await, [large.as_str()]);
    }
}

#[tokio::test]
async fn a_node_goes_on_from_its_mark_in_the_midst_of_the_log() {
    let addresses = Addresses::default();
    let mut nodes = three(&addresses).await;
    let expected = names(60);
    for value in &expected[..30] {
        within(append(&nodes, value)).await;
    }
    let stopped = nodes.remove(2);
    within(stopped.partition.wait_applied(Offset::new(30))).await.unwrap();
    within(stopped.partition.stop()).await;
    let disk = stopped.host.disk.crash(CrashMode::ProcessOnly);
    drop(stopped);
    for value in &expected[30..] {
        within(append(&nodes, value)).await;
    }
    let node = restart(3, disk, &VOTERS, &addresses).await;
    assert!(node.partition.progress().high_watermark >= Offset::new(30), "what it had applied it knows");
    within(node.partition.wait_applied(Offset::new(60))).await.unwrap();
    assert_eq!(values(&node.partition, 0).await, expected);
}

#[tokio::test]
async fn a_new_node_gets_what_a_trim_has_left() {
    let addresses = Addresses::default();
    let mut nodes = three(&addresses).await;
    let large = "x".repeat(20_000);
    for _ in 0..20 {
        within(append(&nodes, &large)).await;
    }
    let at = leader(&nodes).await;
    within(nodes[at].partition.trim(Offset::new(15))).await.unwrap();
    let leading = nodes[at].partition.clone();
    until("the front is gone", || (leading.status().size_bytes < 15 * 20_000).then_some(())).await;
    nodes.push(start(4, &VOTERS, &addresses).await);
    within(leading.add_learner(NodeId::new(4))).await.unwrap();
    let voters: BTreeSet<NodeId> = (1..=4).map(NodeId::new).collect();
    within(leading.change_voters(&voters)).await.unwrap();
    within(append(&nodes, "after")).await;
    let new = &nodes[3].partition;
    within(new.wait_applied(Offset::new(21))).await.unwrap();
    assert_eq!(new.progress().log_start_offset, Offset::new(15));
    let found = values(new, 15).await;
    assert_eq!((found.len(), found[5].as_str()), (6, "after"));
}

#[tokio::test]
async fn leadership_moves_over_sockets() {
    let addresses = Addresses::default();
    let nodes = three(&addresses).await;
    within(append(&nodes, "0")).await;
    for _ in 0..3 {
        let old = leader(&nodes).await;
        let new = (old + 1) % 3;
        // It is fit once it has answered this leader.
        let moved = async {
            while nodes[old].partition.transfer_leadership(NodeId::new(nodes[new].host.number)).await.is_err()
            {
                tokio::task::yield_now().await;
            }
        };
        within(moved).await;
        until("the new one leads", || {
            let number = NodeId::new(nodes[new].host.number);
            (nodes[new].partition.progress().leader == Some(number)).then_some(())
        })
        .await;
    }
    within(append(&nodes, "1")).await;
}

#[tokio::test]
async fn connections_are_made_again_wherever_a_node_is_now() {
    let addresses = Addresses::default();
    let mut nodes = three(&addresses).await;
    let mut expected = Vec::new();
    for round in 0..6 {
        let value = round.to_string();
        within(append(&nodes, &value)).await;
        expected.push(value);
        nodes[round % 3].host.listen().await;
    }
    for node in &nodes {
        within(node.partition.wait_applied(Offset::new(6))).await.unwrap();
        assert_eq!(values(&node.partition, 0).await, expected);
    }
}

#[tokio::test]
async fn a_damaged_node_is_replaced_over_sockets() {
    let addresses = Addresses::default();
    let mut nodes = three(&addresses).await;
    let large = "x".repeat(10_000);
    for _ in 0..5 {
        within(append(&nodes, &large)).await;
    }
    let stopped = nodes.remove(2);
    within(stopped.partition.wait_applied(Offset::new(5))).await.unwrap();
    within(stopped.partition.stop()).await;
    let disk = stopped.host.disk.crash(CrashMode::ProcessOnly);
    drop(stopped);
    let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "log");
    let segment = disk.files().into_iter().find(is_segment).unwrap();
    disk.flip(&segment, 30_000, 1).unwrap();

    let host = Host::start(3, disk, &addresses).await;
    let partition = host.partition(&VOTERS).await;
    assert!(partition.status().damage.is_some());
    let rest = BTreeSet::from([1, 2].map(NodeId::new));
    let leading = nodes[leader(&nodes).await].partition.clone();
    within(leading.change_voters(&rest)).await.unwrap();
    within(partition.stop()).await;
    drop(partition);
    host.storage.quarantine_partition(ID).unwrap();
    let partition = host.partition(&VOTERS).await;
    nodes.push(Node { partition, host });
    within(leading.add_learner(NodeId::new(3))).await.unwrap();
    within(leading.change_voters(&VOTERS.map(NodeId::new).into())).await.unwrap();
    within(append(&nodes, "together")).await;
    within(nodes[2].partition.wait_applied(Offset::new(6))).await.unwrap();
    assert_eq!(values(&nodes[2].partition, 0).await.len(), 6);
}

#[tokio::test]
async fn commands_are_proposed_and_their_state_is_installed_over_sockets() {
    let addresses = Addresses::default();
    let mut hosts = Vec::new();
    for number in VOTERS {
        hosts.push(Host::start(number, FaultyDisk::new(number), &addresses).await);
    }
    let mut logs = Vec::new();
    for host in &hosts {
        logs.push(host.commands(&VOTERS).await);
    }
    let mut sum = 0;
    for n in 0..40 {
        sum += LONG;
        let log = &logs[n % 3];
        assert_eq!(within(log.propose(LONG)).await.unwrap(), Ok(sum));
        assert_eq!(log.state().0, sum);
    }
    let leader = until("a leader is known", || logs[0].progress().leader).await;
    let leading = logs[leader.get() as usize - 1].clone();
    let host = Host::start(4, FaultyDisk::new(4), &addresses).await;
    let log = host.commands(&VOTERS).await;
    within(leading.add_learner(NodeId::new(4))).await.unwrap();
    within(log.ready()).await.unwrap();
    assert_eq!(log.state().0, sum);
    assert_eq!(within(log.propose(2)).await.unwrap(), Ok(sum + 2));
}

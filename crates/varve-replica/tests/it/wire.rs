//! A group over real connections.

use crate::fixture::{batch, produce, values, within};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use varve_env::disk::FaultyDisk;
use varve_env::net::{Listener, Network, TcpNetwork};
use varve_env::{Env, ManualClock};
use varve_net::{PeerClient, PeerIdentity, serve_peer};
use varve_record::{NodeId, Offset, PartitionId};
use varve_replica::{
    Consistency, GroupSettings, GroupTiming, Partition, PartitionSettings, Peers, ProduceError, WireNetwork,
};
use varve_storage::{Storage, StorageConfig};

const ID: PartitionId = PartitionId::new(3);

type Addresses = Arc<Mutex<BTreeMap<u64, SocketAddr>>>;

struct Node {
    partition: Partition,
    serving: JoinHandle<()>,
    _storage: Storage,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn start(number: u64, voters: &[u64], addresses: &Addresses) -> Node {
    let disk = Arc::new(FaultyDisk::new(number));
    let env = Env { disk, clock: Arc::new(ManualClock::new(1_000_000)), ..Env::real() };
    let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
    let this = PeerIdentity { cluster: [1; 16], node: number };
    let listener = TcpNetwork.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    addresses.lock().unwrap().insert(number, listener.local_addr().unwrap());
    let known = Arc::clone(addresses);
    let lookup = Arc::new(move |node| Some(known.lock().unwrap().get(&node)?.to_string()));
    let client = PeerClient::new(Arc::clone(&env.network), Arc::clone(&env.entropy), this, lookup);
    let peers = Peers::new(NodeId::new(number), Arc::new(WireNetwork::new(client)));
    let serving = tokio::spawn(serve(listener, this, peers.clone()));
    let group = GroupSettings {
        timing: GroupTiming { heartbeat_ms: 50, election_ms: 300 },
        voters: voters.iter().copied().map(NodeId::new).collect(),
    };
    let joined = Partition::join(&env, &storage, ID, &peers, PartitionSettings::default(), &group);
    Node { partition: within(joined).await.unwrap(), serving, _storage: storage }
}

async fn serve(listener: Box<dyn Listener>, this: PeerIdentity, peers: Peers) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let peers = peers.clone();
        connections.spawn(async move { serve_peer(stream, this, &peers).await });
    }
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

#[tokio::test]
async fn three_nodes_agree_over_sockets() {
    let addresses = Addresses::default();
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(start(number, &[1, 2, 3], &addresses).await);
    }
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
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

//! Many groups on the same nodes: their heartbeats travel together, and each is led on its own.

use crate::cluster::until;
use crate::fixture::{batch, produce, within};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use varve_env::disk::FaultyDisk;
use varve_env::{Env, SeededEntropy};
use varve_record::{NodeId, PartitionId};
use varve_replica::{
    GroupSettings, GroupTiming, MemoryNetwork, Partition, PartitionSettings, PeerError, PeerNetwork,
    PeerRequest, PeerResponse, Peers,
};
use varve_storage::{Storage, StorageConfig};

/// Few enough for a debug build on a busy machine: consensus then checks itself at every step.
const GROUPS: u64 = 45;
/// Those of the test in which leaders are missed, which must not be for want of processors.
const GROUPS_FEW: u64 = 24;
const NODES: [NodeId; 3] = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
/// The kind of a frame with heartbeats of many groups, and where in a request the kind and their count are.
const HEARTBEATS: u8 = 8;
const KIND_AT: usize = 8;
/// How often it is looked whether a group is led.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Heartbeats after which it is looked how they travelled.
const HEARTBEATS_MIN: u64 = 500;

/// A network that counts the heartbeats that go through it.
#[derive(Debug)]
struct Counting {
    network: Arc<dyn PeerNetwork>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    frames: AtomicU64,
    heartbeats: AtomicU64,
}

impl PeerNetwork for Counting {
    fn call(
        &self,
        to: NodeId,
        group: PartitionId,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerResponse, PeerError>> {
        let bytes: Bytes = request.encode(group).concat().into();
        if bytes[KIND_AT] == HEARTBEATS {
            let count = u32::from_le_bytes(bytes[KIND_AT + 1..KIND_AT + 5].try_into().unwrap());
            self.counts.frames.fetch_add(1, Ordering::Relaxed);
            self.counts.heartbeats.fetch_add(count.into(), Ordering::Relaxed);
        }
        self.network.call(to, group, request)
    }
}

/// A node with a replica of each group.
struct Node {
    env: Env,
    storage: Storage,
    peers: Peers,
    partitions: BTreeMap<PartitionId, Partition>,
}

struct Nodes {
    count: u64,
    network: MemoryNetwork,
    counts: Arc<Counts>,
    nodes: BTreeMap<NodeId, Node>,
}

impl Nodes {
    async fn start(count: u64, timing: GroupTiming) -> Self {
        let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(7)));
        let mut nodes = Self { count, network, counts: Arc::default(), nodes: BTreeMap::new() };
        for node in NODES {
            nodes.plug(node);
        }
        // One group after the other, so that whoever stands first finds the others there.
        for id in nodes.groups() {
            for node in nodes.nodes.values_mut() {
                let voters = BTreeSet::from(NODES);
                let first_leader = Some(preferred(id));
                let group = GroupSettings { timing, voters, first_leader, ..GroupSettings::default() };
                let (env, storage, peers) = (&node.env, &node.storage, &node.peers);
                let settings = PartitionSettings::default();
                let joined = within(Partition::join(env, storage, id, peers, settings, &group)).await;
                node.partitions.insert(id, joined.unwrap());
            }
        }
        nodes
    }

    fn plug(&mut self, number: NodeId) {
        let env = Env { disk: Arc::new(FaultyDisk::new(number.get())), ..Env::real() };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        let network = Counting { network: self.network.of(number), counts: Arc::clone(&self.counts) };
        let peers = Peers::new(number, Arc::new(network));
        self.network.plug(&peers);
        self.nodes.insert(number, Node { env, storage, peers, partitions: BTreeMap::new() });
    }

    fn groups(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (1..=self.count).map(PartitionId::new)
    }

    /// Who leads a group by its own account.
    fn leader(&self, id: PartitionId) -> Option<NodeId> {
        let leads = |node: &&NodeId| self.nodes[node].partitions[&id].progress().leader == Some(**node);
        self.nodes.keys().find(leads).copied()
    }

    /// Waits until every group is led.
    async fn led(&self) {
        until("all groups are led", || self.groups().all(|id| self.leader(id).is_some()).then_some(())).await;
    }

    /// Appends to every group, through whoever leads it, however often it takes.
    async fn append_to_all(&self) {
        for id in self.groups() {
            within(async {
                loop {
                    let Some(leader) = self.leader(id) else {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                        continue;
                    };
                    let partition = &self.nodes[&leader].partitions[&id];
                    // Whoever has just lost the leadership refuses.
                    if partition.produce(produce(batch(&["v"]))).await.is_ok() {
                        return;
                    }
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
            })
            .await;
        }
    }
}

/// Each node is the preferred leader of a third of the groups.
fn preferred(id: PartitionId) -> NodeId {
    NODES[(id.get() % 3) as usize]
}

#[tokio::test]
async fn heartbeats_of_many_groups_travel_together_and_keep_them_led() {
    // Nobody misses a leader so soon: who leads stood first, and is answered by heartbeats alone.
    let nodes = Nodes::start(GROUPS, GroupTiming { heartbeat_ms: 500, election_ms: 30_000 }).await;
    nodes.led().await;
    for id in nodes.groups() {
        assert_eq!(nodes.leader(id), Some(preferred(id)), "{id}");
    }
    let counts = &nodes.counts;
    until("heartbeats are sent", || {
        (counts.heartbeats.load(Ordering::Relaxed) >= HEARTBEATS_MIN).then_some(())
    })
    .await;
    let (frames, heartbeats) =
        (counts.frames.load(Ordering::Relaxed), counts.heartbeats.load(Ordering::Relaxed));
    assert!(frames * 2 <= heartbeats, "{heartbeats} heartbeats in {frames} frames");
    // It takes an answered round of heartbeats.
    for id in nodes.groups() {
        within(nodes.nodes[&preferred(id)].partitions[&id].recovered()).await.unwrap();
    }
}

#[tokio::test]
async fn groups_whose_leader_dies_elect_others_and_the_rest_go_on() {
    let mut nodes = Nodes::start(GROUPS_FEW, GroupTiming { heartbeat_ms: 100, election_ms: 1_000 }).await;
    nodes.led().await;
    nodes.append_to_all().await;
    let dead = NODES[0];
    nodes.network.unplug(dead);
    let gone = nodes.nodes.remove(&dead).unwrap();
    nodes.led().await;
    nodes.append_to_all().await;
    for partition in gone.partitions.values() {
        within(partition.stop()).await;
    }
}

//! Nodes in one process, each on a disk in memory, with links in memory between them.

use crate::fixture::{DEADLINE, produce, within};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::{Env, ManualClock, SeededEntropy, WallClock};
use varve_record::{Batch, NodeId, Offset, PartitionId};
use varve_replica::{
    GroupSettings, GroupTiming, MemoryNetwork, Partition, PartitionSettings, Peers, ProduceError, Produced,
};
use varve_storage::{PartitionConfig, Retention, Storage, StorageConfig};

pub(crate) const GROUP: PartitionId = PartitionId::new(7);

const TIMING: GroupTiming = GroupTiming { heartbeat_ms: 50, election_ms: 300 };
/// A state is looked at so often where there is nothing to wait on.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A clock that knows how often it was looked at: once for each proposal that is judged.
#[derive(Debug)]
pub(crate) struct CountingClock {
    clock: ManualClock,
    looks: AtomicU64,
}

impl CountingClock {
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

impl WallClock for CountingClock {
    fn now_unix_ms(&self) -> i64 {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.now_unix_ms()
    }
}

/// A node and its replica.
pub(crate) struct Node {
    pub(crate) disk: FaultyDisk,
    pub(crate) partition: Partition,
    /// The log lives as long as this.
    pub(crate) storage: Storage,
    pub(crate) peers: Peers,
}

/// Some nodes, all of them with a replica of one partition.
pub(crate) struct Cluster {
    pub(crate) network: MemoryNetwork,
    pub(crate) clock: Arc<CountingClock>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    founders: BTreeSet<NodeId>,
    first_leader: Option<NodeId>,
    timing: GroupTiming,
    settings: PartitionSettings,
}

impl Cluster {
    /// A new group of so many voters, numbered from 1.
    pub(crate) async fn new(voters: u64) -> Self {
        Self::with(voters, PartitionSettings::default()).await
    }

    /// The same with small segments.
    pub(crate) async fn with_small_segments(voters: u64) -> Self {
        let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
        Self::with(voters, PartitionSettings { log, retention: Retention::default() }).await
    }

    /// A new group of three that one of them is to lead first, with this election timeout; only some of them start.
    pub(crate) async fn led_first_by(first: NodeId, election_ms: u64, started: &[NodeId]) -> Self {
        let mut cluster = Self::not_started(3, PartitionSettings::default());
        cluster.first_leader = Some(first);
        cluster.timing.election_ms = election_ms;
        for node in started {
            cluster.start(*node, FaultyDisk::new(node.get())).await;
        }
        cluster
    }

    async fn with(voters: u64, settings: PartitionSettings) -> Self {
        let mut cluster = Self::not_started(voters, settings);
        for node in cluster.founders.clone() {
            cluster.start(node, FaultyDisk::new(node.get())).await;
        }
        cluster
    }

    fn not_started(voters: u64, settings: PartitionSettings) -> Self {
        Self {
            network: MemoryNetwork::new(Arc::new(SeededEntropy::new(7))),
            clock: Arc::new(CountingClock { clock: ManualClock::new(1_000_000), looks: AtomicU64::new(0) }),
            nodes: BTreeMap::new(),
            founders: (1..=voters).map(NodeId::new).collect(),
            first_leader: None,
            timing: TIMING,
            settings,
        }
    }

    /// Starts a node on a disk.
    pub(crate) async fn start(&mut self, node: NodeId, disk: FaultyDisk) {
        let clock = Arc::clone(&self.clock) as Arc<dyn WallClock>;
        let env = Env { disk: Arc::new(disk.clone()), clock, ..Env::real() };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        let peers = Peers::new(node, self.network.of(node));
        self.network.plug(&peers);
        let group = GroupSettings {
            timing: self.timing,
            voters: self.founders.clone(),
            first_leader: self.first_leader,
            ..GroupSettings::default()
        };
        let partition = Partition::join(&env, &storage, GROUP, &peers, self.settings.clone(), &group);
        let partition = within(partition).await.unwrap();
        drop(self.nodes.insert(node, Node { disk, partition, storage, peers }));
    }

    /// Cuts a node's power: what it had not synced is gone. Gives its disk.
    pub(crate) async fn cut_power(&mut self, node: NodeId) -> FaultyDisk {
        let dead = self.nodes.remove(&node).expect("the node is running");
        self.network.unplug(node);
        let disk = dead.disk.crash(CrashMode::SyncedOnly);
        within(dead.partition.stop()).await;
        disk
    }

    /// Cuts a node's power and starts it again.
    pub(crate) async fn restart(&mut self, node: NodeId) {
        let disk = self.cut_power(node).await;
        self.start(node, disk).await;
    }

    pub(crate) fn partition(&self, node: NodeId) -> &Partition {
        &self.nodes[&node].partition
    }

    /// The node that leads, and that a majority of `among` knows to lead.
    pub(crate) async fn leader_among(&self, among: &[NodeId]) -> NodeId {
        self.until("a leader is known", || {
            let mut votes: BTreeMap<NodeId, usize> = BTreeMap::new();
            let known = among.iter().filter_map(|node| self.nodes.get(node)?.partition.progress().leader);
            known
                .filter(|leader| among.contains(leader))
                .for_each(|leader| *votes.entry(leader).or_default() += 1);
            votes.into_iter().find(|(leader, count)| {
                let knows_itself = self.nodes[leader].partition.progress().leader == Some(*leader);
                *count * 2 > among.len() && knows_itself
            })
        })
        .await
        .0
    }

    pub(crate) async fn leader(&self) -> NodeId {
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.leader_among(&all).await
    }

    /// Looks until something is there.
    pub(crate) async fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        until(what, look).await
    }

    /// Appends through whoever leads, however often it takes.
    pub(crate) async fn append(&self, batch: Batch) -> Produced {
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.append_among(&all, batch).await
    }

    pub(crate) async fn append_among(&self, among: &[NodeId], batch: Batch) -> Produced {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let leader = self.leader_among(among).await;
            match within(self.partition(leader).produce(produce(batch.clone()))).await {
                Ok(produced) => return produced,
                Err(ProduceError::NotLeader { .. } | ProduceError::CommitUnknown) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "nobody took the batch");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until every node has applied as much as the one that has most.
    pub(crate) async fn level(&self) -> Offset {
        self.until("all nodes are level", || {
            let marks: BTreeSet<Offset> =
                self.nodes.values().map(|node| node.partition.progress().high_watermark).collect();
            let ends: BTreeSet<Offset> =
                self.nodes.values().map(|node| node.partition.status().next_offset).collect();
            (marks.len() == 1 && marks == ends).then(|| *marks.first().unwrap())
        })
        .await
    }
}

/// Looks until something is there.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came about: {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

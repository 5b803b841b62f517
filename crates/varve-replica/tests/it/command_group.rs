//! A command log as a group.

use crate::cluster::until;
use crate::command_log::Sum;
use crate::fixture::within;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::{Env, SeededEntropy};
use varve_record::{NodeId, PartitionId};
use varve_replica::{
    CommandError, CommandLog, GroupSettings, GroupTiming, MemoryNetwork, Peers, ProduceError,
};
use varve_storage::{Storage, StorageConfig};

const ID: PartitionId = PartitionId::new(0);

struct Node {
    disk: FaultyDisk,
    log: CommandLog<Sum>,
    _storage: Storage,
}

struct Nodes {
    network: MemoryNetwork,
    nodes: BTreeMap<NodeId, Node>,
    voters: BTreeSet<NodeId>,
}

impl Nodes {
    async fn new(count: u64) -> Self {
        let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(3)));
        let voters: BTreeSet<NodeId> = (1..=count).map(NodeId::new).collect();
        let mut nodes = Self { network, nodes: BTreeMap::new(), voters: voters.clone() };
        for node in voters {
            nodes.start(node, FaultyDisk::new(node.get())).await;
        }
        nodes
    }

    async fn start(&mut self, node: NodeId, disk: FaultyDisk) {
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        let peers = Peers::new(node, self.network.of(node));
        self.network.plug(&peers);
        let timing = GroupTiming { heartbeat_ms: 50, election_ms: 300 };
        let group = GroupSettings { timing, voters: self.voters.clone() };
        let log = within(CommandLog::join(&env, &storage, ID, &peers, &group, Sum::default())).await.unwrap();
        drop(self.nodes.insert(node, Node { disk, log, _storage: storage }));
    }

    async fn cut_power(&mut self, node: NodeId) -> FaultyDisk {
        let dead = self.nodes.remove(&node).unwrap();
        self.network.unplug(node);
        let disk = dead.disk.crash(CrashMode::SyncedOnly);
        within(dead.log.stop()).await;
        disk
    }

    /// Proposes to whoever takes it.
    async fn add(&self, number: i64) -> Result<i64, String> {
        let attempt = async {
            loop {
                for node in self.nodes.values() {
                    match node.log.propose(number).await {
                        Ok(answer) => return answer,
                        Err(CommandError::Log(ProduceError::NotLeader { .. })) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        within(attempt).await
    }
}

#[tokio::test]
async fn every_replica_has_the_state_and_whoever_leads_answers() {
    let mut nodes = Nodes::new(3).await;
    assert_eq!(nodes.add(2).await, Ok(2));
    assert_eq!(nodes.add(3).await, Err("3 is odd".to_owned()));
    assert_eq!(nodes.add(4).await, Ok(6));
    for node in nodes.nodes.values() {
        within(node.log.linearize()).await.unwrap();
        assert_eq!(node.log.state().0, 6);
    }
    let leader =
        until("a leader is known", || nodes.nodes.values().find_map(|n| n.log.progress().leader)).await;
    let disk = nodes.cut_power(leader).await;
    assert_eq!(nodes.add(10).await, Ok(16));
    nodes.start(leader, disk).await;
    until("the restarted one has it all", || (nodes.nodes[&leader].log.state().0 == 16).then_some(())).await;
}

#[tokio::test]
async fn a_state_is_made_again_after_all_lost_power() {
    let mut nodes = Nodes::new(3).await;
    for _ in 0..20 {
        nodes.add(2).await.unwrap();
    }
    let mut disks = Vec::new();
    for node in nodes.voters.clone() {
        disks.push((node, nodes.cut_power(node).await));
    }
    for (node, disk) in disks {
        nodes.start(node, disk).await;
    }
    assert_eq!(nodes.add(2).await, Ok(42));
}

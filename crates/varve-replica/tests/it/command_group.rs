//! A command log as a group.

use crate::cluster::until;
use crate::command_log::{Sum, TOO_LARGE};
use crate::fixture::within;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::{Env, SeededEntropy};
use varve_record::{NodeId, PartitionId};
use varve_replica::{
    COMMAND_BYTES_MAX, CommandError, CommandLog, GroupError, GroupSettings, GroupTiming, MemoryNetwork,
    Peers, ProduceError,
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
        let group = GroupSettings { timing, voters: self.voters.clone(), ..GroupSettings::default() };
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

    async fn leader(&self) -> NodeId {
        until("a leader is known", || self.nodes.values().find_map(|node| node.log.progress().leader)).await
    }

    /// Makes a node that runs a member.
    async fn add_learner(&self, learner: NodeId) {
        let leader = self.leader().await;
        within(self.nodes[&leader].log.add_learner(learner)).await.unwrap();
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
    let leader = nodes.leader().await;
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

#[tokio::test]
async fn every_member_proposes_and_reads_what_it_wrote() {
    let mut nodes = Nodes::new(3).await;
    let learner = NodeId::new(4);
    nodes.start(learner, FaultyDisk::new(4)).await;
    nodes.add_learner(learner).await;
    let mut sum = 0;
    for number in [2, 4, 6] {
        for (id, node) in &nodes.nodes {
            sum += number;
            assert_eq!(within(node.log.propose(number)).await.unwrap(), Ok(sum), "on node {id}");
            assert_eq!(node.log.state().0, sum, "node {id} sees its own command");
        }
    }
    let refused = within(nodes.nodes[&learner].log.propose(7)).await.unwrap();
    assert_eq!(refused, Err("7 is odd".to_owned()), "a refusal is the command's answer");
}

#[tokio::test]
async fn many_members_propose_at_once_and_each_gets_its_own_answer() {
    let nodes = Nodes::new(3).await;
    nodes.add(2).await.unwrap();
    let proposals = nodes.nodes.values().flat_map(|node| {
        (0..50).map(|_| {
            let log = node.log.clone();
            async move { within(log.propose(2)).await.unwrap().unwrap() }
        })
    });
    let answers: Vec<_> = proposals.map(tokio::spawn).collect();
    let mut sums = BTreeSet::new();
    for answer in answers {
        assert!(sums.insert(within(answer).await.unwrap()), "an answer was given twice");
    }
    assert_eq!(sums, (2..=151).map(|n| n * 2).collect());
}

#[tokio::test]
async fn a_command_whose_answer_is_lost_is_not_proposed_again() {
    let nodes = Nodes::new(3).await;
    nodes.add(2).await.unwrap();
    let leader = nodes.leader().await;
    let other = *nodes.nodes.keys().find(|node| **node != leader).unwrap();
    // What the leader answers is lost; its entries still arrive, for those it sends by itself.
    nodes.network.lose_answers(leader, other);
    let proposed = within(nodes.nodes[&other].log.propose(4)).await;
    assert!(matches!(proposed, Err(CommandError::Log(ProduceError::CommitUnknown))), "{proposed:?}");
    nodes.network.heal();
    assert_eq!(nodes.add(2).await, Ok(8), "it was committed, and once");
}

#[tokio::test]
async fn without_a_leader_a_command_is_refused_after_a_while() {
    let mut nodes = Nodes::new(3).await;
    nodes.add(2).await.unwrap();
    let leader = nodes.leader().await;
    let rest = *nodes.nodes.keys().find(|node| **node != leader).unwrap();
    let others: Vec<NodeId> = nodes.nodes.keys().copied().filter(|node| *node != rest).collect();
    for node in others {
        nodes.cut_power(node).await;
    }
    let proposed = within(nodes.nodes[&rest].log.propose(4)).await;
    assert!(matches!(proposed, Err(CommandError::Log(ProduceError::NotLeader { .. }))), "{proposed:?}");
}

#[tokio::test]
async fn a_command_waits_for_the_next_leader() {
    let mut nodes = Nodes::new(3).await;
    nodes.add(2).await.unwrap();
    let leader = nodes.leader().await;
    nodes.cut_power(leader).await;
    let rest = nodes.nodes.keys().next().copied().unwrap();
    assert_eq!(within(nodes.nodes[&rest].log.propose(4)).await.unwrap(), Ok(6));
}

#[tokio::test]
async fn a_command_that_is_too_large_is_refused() {
    let nodes = Nodes::new(1).await;
    nodes.add(2).await.unwrap();
    let too_large = within(nodes.nodes[&NodeId::new(1)].log.propose(TOO_LARGE)).await;
    let limit = COMMAND_BYTES_MAX;
    assert!(
        matches!(too_large, Err(CommandError::Log(ProduceError::TooLarge { max_bytes, .. })) if max_bytes == limit),
        "{too_large:?}"
    );
    assert_eq!(nodes.add(2).await, Ok(4));
}

#[tokio::test]
async fn a_start_is_ready_once_it_knows_what_was_committed() {
    let mut nodes = Nodes::new(3).await;
    for _ in 0..300 {
        nodes.add(2).await.unwrap();
    }
    let leader = nodes.leader().await;
    let other = *nodes.nodes.keys().find(|node| **node != leader).unwrap();
    let disk = nodes.cut_power(other).await;
    nodes.start(other, disk).await;
    let log = nodes.nodes[&other].log.clone();
    let mut seen = log.follow();
    let counting = tokio::spawn(async move {
        let mut changes = 0;
        while seen.borrow_and_update().0 < 600 {
            seen.changed().await.unwrap();
            changes += 1;
        }
        changes
    });
    within(log.ready()).await.unwrap();
    assert_eq!(log.state().0, 600);
    let changes = within(counting).await.unwrap();
    assert!(changes <= 30, "the state was made known {changes} times");
}

#[tokio::test]
async fn a_stopped_log_is_never_ready() {
    let nodes = Nodes::new(3).await;
    let node = &nodes.nodes[&NodeId::new(1)];
    within(node.log.stop()).await;
    assert!(matches!(within(node.log.ready()).await, Err(GroupError::Stopped)));
    let proposed = within(node.log.propose(2)).await;
    assert!(matches!(proposed, Err(CommandError::Log(ProduceError::ShuttingDown))), "{proposed:?}");
}

//! Snapshots of a command log, and what a crash leaves of one.

use crate::cluster::until;
use crate::command_log::{LONG, Sum};
use crate::fixture::within;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::{Env, SeededEntropy};
use varve_record::{NodeId, PartitionId};
use varve_replica::{
    CommandLog, CommandLogSettings, GroupSettings, GroupTiming, MemoryNetwork, OpenReplicaError, Peers,
};
use varve_storage::{PartitionConfig, Storage, StorageConfig};

const ID: PartitionId = PartitionId::new(0);
const FIRST: NodeId = NodeId::new(1);
const SNAPSHOT: &str = "/data/partitions/0000000000/snapshot";

struct Node {
    disk: FaultyDisk,
    log: CommandLog<Sum>,
    _storage: Storage,
}

impl Node {
    async fn crash(self, mode: CrashMode) -> FaultyDisk {
        let disk = self.disk.crash(mode);
        within(self.log.stop()).await;
        disk
    }

    /// The log's files.
    fn segments(&self) -> Vec<PathBuf> {
        let files = self.disk.files().into_iter();
        files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
    }

    async fn add(&self, number: i64) -> Option<i64> {
        within(self.log.propose(number)).await.ok().map(|answer| answer.unwrap())
    }
}

/// A snapshot every few commands, and small segments.
fn settings() -> CommandLogSettings {
    let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
    CommandLogSettings { log, snapshot_entries: 4, snapshot_bytes: 1 << 20 }
}

fn network() -> MemoryNetwork {
    MemoryNetwork::new(Arc::new(SeededEntropy::new(3)))
}

async fn try_start(
    network: &MemoryNetwork,
    node: NodeId,
    disk: FaultyDisk,
) -> Result<Node, OpenReplicaError> {
    let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
    let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default())?;
    let peers = Peers::new(node, network.of(node));
    network.plug(&peers);
    let timing = GroupTiming { heartbeat_ms: 50, election_ms: 300 };
    let group = GroupSettings { timing, voters: BTreeSet::from([FIRST]), ..GroupSettings::default() };
    let joined = CommandLog::join_with(&env, &storage, ID, &peers, &group, Sum::default(), settings());
    Ok(Node { disk, log: within(joined).await?, _storage: storage })
}

async fn start(network: &MemoryNetwork, node: NodeId, disk: FaultyDisk) -> Node {
    try_start(network, node, disk).await.unwrap()
}

/// One voter whose first commands are purged, and the sum.
async fn trimmed(network: &MemoryNetwork) -> (Node, i64) {
    let node = start(network, FIRST, FaultyDisk::new(1)).await;
    let is_first = |path: &PathBuf| path.ends_with("00000000000000000000-0000000001.log");
    let mut sum = 0;
    let purged = async {
        while sum < 40 * LONG || node.segments().iter().any(is_first) {
            sum += LONG;
            assert_eq!(node.add(LONG).await, Some(sum));
        }
    };
    within(purged).await;
    (node, sum)
}

#[tokio::test]
async fn a_start_goes_on_from_a_snapshot_when_the_commands_are_purged() {
    let network = network();
    let (node, sum) = trimmed(&network).await;
    assert!(
        node.segments().len() < 5,
        "of 320 KiB of commands and more little is kept: {:?}",
        node.segments()
    );
    let disk = node.crash(CrashMode::SyncedOnly).await;
    let node = start(&network, FIRST, disk).await;
    assert!(node.log.state().0 > 0, "the state is that of the snapshot at once");
    within(node.log.ready()).await.unwrap();
    assert_eq!(node.log.state().0, sum);
    assert_eq!(node.add(2).await, Some(sum + 2));
}

#[tokio::test]
async fn a_new_member_installs_the_snapshot_and_gets_what_came_since() {
    let network = network();
    let (node, sum) = trimmed(&network).await;
    let learner = NodeId::new(2);
    let new = start(&network, learner, FaultyDisk::new(2)).await;
    within(node.log.add_learner(learner)).await.unwrap();
    within(new.log.ready()).await.unwrap();
    assert_eq!(new.log.state().0, sum);
    assert_eq!(new.add(4).await, Some(sum + 4), "it proposes, too");
    let disk = new.crash(CrashMode::SyncedOnly).await;
    let new = start(&network, learner, disk).await;
    within(new.log.ready()).await.unwrap();
    assert_eq!(new.log.state().0, sum + 4);
    within(node.log.change_voters(&BTreeSet::from([FIRST, learner]))).await.unwrap();
    assert_eq!(new.add(4).await, Some(sum + 8));
}

#[tokio::test]
async fn a_damaged_snapshot_is_made_anew_where_all_commands_are_there_and_refused_elsewhere() {
    let network = network();
    let node = start(&network, FIRST, FaultyDisk::new(1)).await;
    for _ in 0..5 {
        node.add(2).await.unwrap();
    }
    until("a snapshot is made", || node.disk.contents(Path::new(SNAPSHOT)).ok()).await;
    let disk = node.crash(CrashMode::SyncedOnly).await;
    disk.flip(Path::new(SNAPSHOT), 40, 1).unwrap();
    let node = start(&network, FIRST, disk).await;
    within(node.log.ready()).await.unwrap();
    assert_eq!(node.log.state().0, 10);

    let (node, _) = trimmed(&network).await;
    let disk = node.crash(CrashMode::SyncedOnly).await;
    disk.flip(Path::new(SNAPSHOT), 40, 1).unwrap();
    assert!(try_start(&network, FIRST, disk).await.is_err());
}

/// Proposes until the disk fails; what was acknowledged, and what was proposed.
async fn write_history(node: &Node) -> (i64, i64) {
    let mut acknowledged = 0;
    for _ in 0..30 {
        match node.add(LONG).await {
            Some(sum) => acknowledged = sum,
            None => return (acknowledged, acknowledged + LONG),
        }
    }
    (acknowledged, acknowledged)
}

#[tokio::test]
async fn no_command_is_lost_wherever_the_power_goes() {
    let whole = {
        let network = network();
        let node = start(&network, FIRST, FaultyDisk::new(1)).await;
        let before = node.disk.changes();
        write_history(&node).await;
        node.disk.changes() - before
    };
    for steps in 0..=whole + 8 {
        let mode = [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly][steps as usize % 3];
        let network = network();
        let node = start(&network, FIRST, FaultyDisk::new(steps)).await;
        node.disk.halt_after(steps);
        let (acknowledged, proposed) = write_history(&node).await;
        let disk = node.crash(mode).await;
        let node = start(&network, FIRST, disk).await;
        within(node.log.ready()).await.unwrap();
        let found = node.log.state().0;
        assert!(
            (acknowledged..=proposed).contains(&found),
            "after {steps} steps, {mode:?}: {acknowledged} was acknowledged, {found} found"
        );
        assert_eq!(node.add(2).await, Some(found + 2), "after {steps} steps, {mode:?}");
    }
}

#[tokio::test]
async fn an_install_is_finished_wherever_the_power_goes() {
    let network = network();
    let (leader, sum) = trimmed(&network).await;
    let mut steps = 0;
    loop {
        let mode = [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly][steps as usize % 3];
        let node = NodeId::new(steps + 2);
        let new = start(&network, node, FaultyDisk::new(steps)).await;
        new.disk.halt_after(steps);
        let adding = leader.log.clone();
        let adding = tokio::spawn(async move { adding.add_learner(node).await });
        let mut applied = new.log.follow();
        let through = {
            let mut changed = std::pin::pin!(applied.wait_for(|state| state.0 == sum));
            let stopped = until("it stops", || new.log.has_stopped().then_some(()));
            tokio::select! {
                done = &mut changed => done.is_ok(),
                () = stopped => false,
            }
        };
        let disk = new.crash(mode).await;
        let new = start(&network, node, disk).await;
        within(adding).await.unwrap().unwrap();
        within(new.log.ready()).await.unwrap();
        assert_eq!(new.log.state().0, sum, "after {steps} steps, {mode:?}");
        within(new.log.stop()).await;
        network.unplug(node);
        within(leader.log.remove_learner(node)).await.unwrap();
        if through {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "an install takes more than {steps} steps");
}

//! The simulated world: one node on one disk, which loses its power now and then.

use crate::{NoSyncDisk, Sync};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{CrashMode, Disk, FaultyDisk};
use varve_env::{Blocking, Env, ManualClock, SeededEntropy, TaskSpawn};
use varve_record::{NodeId, PartitionId};
use varve_replica::{GroupSettings, MemoryNetwork, OpenReplicaError, Partition, PartitionSettings, Peers};
use varve_storage::{PartitionConfig, Storage, StorageConfig};

/// The only one there is.
const NODE: NodeId = NodeId::new(1);

/// Small, so that a run goes through many segments.
const SEGMENT_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) disk: FaultyDisk,
    clock: Arc<ManualClock>,
    seed: u64,
    sync: Sync,
}

/// A node between two power cuts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) storage: Storage,
    pub(crate) partition: Partition,
}

impl World {
    pub(crate) fn new(seed: u64, sync: Sync) -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        Self { disk: FaultyDisk::new(seed), clock, seed, sync }
    }

    /// Starts the node on what the disk holds.
    pub(crate) async fn start(&self) -> Result<Node, OpenReplicaError> {
        self.clock.advance(1_000);
        let disk: Arc<dyn Disk> = match self.sync {
            Sync::Honest => Arc::new(self.disk.clone()),
            Sync::Ignored => Arc::new(NoSyncDisk(self.disk.clone())),
        };
        let env = Env {
            disk,
            clock: Arc::clone(&self.clock) as Arc<_>,
            entropy: Arc::new(SeededEntropy::new(self.seed)),
            spawn: Arc::new(TaskSpawn),
            blocking: Blocking::Inline,
            ..Env::real()
        };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default())?;
        let log = PartitionConfig { segment_bytes: SEGMENT_BYTES, ..PartitionConfig::default() };
        let settings = PartitionSettings { log, ..PartitionSettings::default() };
        let network = MemoryNetwork::new(Arc::clone(&env.entropy));
        let peers = Peers::new(NODE, network.of(NODE));
        network.plug(&peers);
        let group = GroupSettings { voters: BTreeSet::from([NODE]), ..GroupSettings::default() };
        let joined = Partition::join(&env, &storage, PartitionId::new(1), &peers, settings, &group).await?;
        // A node whose power goes before it knows what it had committed says so.
        drop(joined.recovered().await);
        let partition = joined;
        Ok(Node { storage, partition })
    }

    pub(crate) fn cut_power(&mut self, mode: CrashMode) {
        self.disk = self.disk.crash(mode);
    }
}

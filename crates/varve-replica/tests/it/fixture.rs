//! A node's storage on a disk in memory.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_env::{Blocking, Env, ManualClock, SeededEntropy, TaskSpawn};
use varve_record::{
    Batch, BatchBuilder, Compression, Limits, NodeId, Offset, PartitionId, ProducerEpoch, ProducerId,
    Sequence, Timestamp,
};
use varve_replica::{
    Acks, GroupSettings, GroupTiming, MemoryNetwork, OpenReplicaError, Partition, PartitionSettings, Peers,
    Produce, ProduceError, Produced,
};
use varve_storage::{Storage, StorageConfig};

/// Nothing here takes long; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const NODE: NodeId = NodeId::new(1);
pub(crate) const PARTITION: PartitionId = PartitionId::new(1);

/// A data directory and the world around it.
pub(crate) struct Fixture {
    pub(crate) disk: FaultyDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) env: Env,
    pub(crate) storage: Storage,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::on(FaultyDisk::new(1), Arc::new(ManualClock::new(1_000_000)))
    }

    pub(crate) fn on(disk: FaultyDisk, clock: Arc<ManualClock>) -> Self {
        let world = Arc::clone(&clock);
        let env = Env { disk: Arc::new(disk.clone()), clock: world, ..Env::real() };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        Self { disk, clock, env, storage }
    }

    /// A node whose writers are tasks of the test's own thread: they run while the test waits, and not otherwise.
    pub(crate) fn single_threaded() -> Self {
        let (disk, clock) = (FaultyDisk::new(1), Arc::new(ManualClock::new(1_000_000)));
        let env = Env {
            disk: Arc::new(disk.clone()),
            clock: Arc::clone(&clock) as _,
            spawn: Arc::new(TaskSpawn),
            blocking: Blocking::Inline,
            ..Env::real()
        };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        Self { disk, clock, env, storage }
    }

    /// The node after a power cut.
    pub(crate) fn crash(self) -> Self {
        let disk = self.disk.crash(CrashMode::SyncedOnly);
        Self::on(disk, self.clock)
    }

    pub(crate) async fn partition(&self) -> Partition {
        self.partition_with(PartitionSettings::default()).await
    }

    /// The partition, whose group this node is the whole of, with all that it had committed. A damaged one is as it is.
    pub(crate) async fn partition_with(&self, settings: PartitionSettings) -> Partition {
        let partition = self.join(settings).await.unwrap();
        within(partition.recovered()).await.unwrap();
        partition
    }

    pub(crate) async fn join(&self, settings: PartitionSettings) -> Result<Partition, OpenReplicaError> {
        let (peers, group) = self.sole_member();
        within(Partition::join(&self.env, &self.storage, PARTITION, &peers, settings, &group)).await
    }

    /// How this node takes part in a group that has no other members.
    pub(crate) fn sole_member(&self) -> (Peers, GroupSettings) {
        let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(3)));
        let peers = Peers::new(NODE, network.of(NODE));
        network.plug(&peers);
        let timing = GroupTiming { heartbeat_ms: 50, election_ms: 300 };
        (peers, GroupSettings { timing, voters: BTreeSet::from([NODE]), ..GroupSettings::default() })
    }
}

/// A batch of values.
pub(crate) fn batch(values: &[&str]) -> Batch {
    fill(BatchBuilder::new(Compression::None), values)
}

/// A batch of an idempotent producer.
pub(crate) fn numbered(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
    fill(builder, values)
}

fn fill(mut builder: BatchBuilder, values: &[&str]) -> Batch {
    for value in values {
        builder.push(Timestamp::new(5), None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn produce(batch: Batch) -> Produce {
    Produce { batch, expected_offset: None, acks: Acks::Quorum, trace: None }
}

pub(crate) async fn append(partition: &Partition, batch: Batch) -> Result<Produced, ProduceError> {
    within(partition.produce(produce(batch))).await
}

/// Every committed value from an offset on.
pub(crate) async fn values(partition: &Partition, from: u64) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = Offset::new(from);
    loop {
        let read = within(partition.read(next, None, 1 << 20)).await.unwrap();
        let Some(last) = read.batches.last() else { return found };
        let end = last.batch.base_offset() + u64::from(last.batch.record_count());
        for stored in &read.batches {
            let records = stored.batch.records(&Limits::default()).unwrap();
            for record in records.iter().map(Result::unwrap).filter(|record| record.offset >= next) {
                found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
        next = end;
    }
}

/// A future that must end.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("this takes no time")
}

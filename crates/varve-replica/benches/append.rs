//! What consensus costs: one append at a time, and many at once, by a group of one, and a group of three in one process. On the real disk, under `VARVE_BENCH_DIR` or the system's temporary directory; the links are
//! in memory, so that only the disks and the code count. Run with `cargo bench -p varve-replica`.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to say")]
#![allow(clippy::print_stdout, reason = "the figures are its output")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use varve_env::{Env, SeededEntropy};
use varve_record::{Batch, BatchBuilder, Compression, NodeId, PartitionId, Timestamp};
use varve_replica::{
    Acks, GroupSettings, MemoryNetwork, Partition, PartitionSettings, Peers, Produce, ProduceError,
};
use varve_storage::{Storage, StorageConfig};

const ID: PartitionId = PartitionId::new(1);
const VALUE_BYTES: usize = 1024;
const MEASURE_TIME: Duration = Duration::from_secs(4);
const MANY: usize = 256;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for round in 0..2 {
            println!("round {round}");
            measure("group of 1", 1).await;
            measure("group of 3", 3).await;
        }
    });
}

async fn measure(name: &str, voters: u64) {
    let dir = std::env::var_os("VARVE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(dir).unwrap();
    let mut nodes = Vec::new();
    let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(1)));
    for number in 1..=voters {
        nodes.push(open(dir.path(), number, voters, &network).await);
    }
    let leader = leader(&nodes).await;
    let one = one_at_a_time(&leader).await;
    let many = many_at_once(&leader).await;
    println!(
        "{name}: one at a time {} us median, {} us p99; {MANY} in flight {many:.0} batches/s",
        one.0, one.1
    );
    for (partition, storage) in nodes {
        partition.stop().await;
        drop(storage.close());
    }
}

async fn open(dir: &Path, number: u64, voters: u64, network: &MemoryNetwork) -> (Partition, Storage) {
    let env = Env::real();
    let node = NodeId::new(number);
    let storage = Storage::open(&env, &dir.join(number.to_string()), StorageConfig::default()).unwrap();
    let settings = PartitionSettings::default();
    let peers = Peers::new(node, network.of(node));
    network.plug(&peers);
    let voters: BTreeSet<NodeId> = (1..=voters).map(NodeId::new).collect();
    let group = GroupSettings { voters, ..GroupSettings::default() };
    let partition = Partition::join(&env, &storage, ID, &peers, settings, &group).await.unwrap();
    (partition, storage)
}

async fn leader(nodes: &[(Partition, Storage)]) -> Partition {
    loop {
        for (partition, _) in nodes {
            match partition.produce(produce()).await {
                Ok(_) => return partition.clone(),
                Err(ProduceError::NotLeader { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn one_at_a_time(partition: &Partition) -> (u128, u128) {
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < MEASURE_TIME {
        let before = Instant::now();
        partition.produce(produce()).await.unwrap();
        took.push(before.elapsed().as_micros());
    }
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

async fn many_at_once(partition: &Partition) -> f64 {
    let begun = Instant::now();
    let mut pending = std::collections::VecDeque::new();
    let mut done = 0_u32;
    while begun.elapsed() < MEASURE_TIME {
        while pending.len() < MANY {
            pending.push_back(partition.enqueue(produce()).await.unwrap());
        }
        pending.pop_front().unwrap().wait().await.unwrap();
        done += 1;
    }
    let rate = f64::from(done) / begun.elapsed().as_secs_f64();
    for pending in pending {
        pending.wait().await.unwrap();
    }
    rate
}

fn produce() -> Produce {
    Produce { batch: batch(), expected_offset: None, acks: Acks::Quorum, trace: None }
}

fn batch() -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(Timestamp::new(5), None, Some(&[7; VALUE_BYTES]), &[]).unwrap();
    builder.build().unwrap()
}

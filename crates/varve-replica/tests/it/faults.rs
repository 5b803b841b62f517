//! Faults by chance, and what must hold whatever they are.

use crate::cluster::Cluster;
use crate::fixture::{numbered, produce, values, within};
use std::collections::BTreeMap;
use std::time::Duration;
use varve_env::{Entropy, SeededEntropy};
use varve_record::{NodeId, Offset};
use varve_replica::{ProduceError, Produced};

const ROUNDS: usize = 25;
const BATCHES_PER_ROUND: usize = 8;
/// How long one attempt may take before its sender gives up on it, and sends it again.
const ATTEMPT_TIME: Duration = Duration::from_millis(400);

/// A producer that sends one numbered batch after the other, each until it is acknowledged.
struct Sender {
    sequence: i32,
    acknowledged: BTreeMap<u64, String>,
}

impl Sender {
    async fn send(&mut self, cluster: &Cluster, node: NodeId) -> bool {
        let value = format!("value-{}", self.sequence);
        let partition = cluster.partition(node);
        let attempt = partition.produce(produce(numbered(9, 0, self.sequence, &[&value])));
        match tokio::time::timeout(ATTEMPT_TIME, attempt).await {
            Ok(Ok(Produced { first_offset: Some(offset), .. })) => {
                let before = self.acknowledged.insert(offset.get(), value);
                assert_eq!(before, None, "offset {offset} was given twice");
                self.sequence += 1;
                true
            }
            Ok(Ok(_)) => panic!("an acknowledgement without an offset"),
            Ok(Err(ProduceError::NotLeader { .. } | ProduceError::CommitUnknown)) | Err(_) => false,
            Ok(Err(error)) => panic!("{error}"),
        }
    }
}

async fn run(seed: u64) {
    let chance = SeededEntropy::new(seed);
    let mut cluster = Cluster::new(3).await;
    let mut sender = Sender { sequence: 0, acknowledged: BTreeMap::new() };
    let pick = |n: u64| NodeId::new(1 + chance.below(n));
    for _ in 0..ROUNDS {
        match chance.below(6) {
            0 => cluster.network.isolate(pick(3)),
            1 => {
                let (from, to) = (pick(3), pick(3));
                cluster.network.cut(from, to);
            }
            2 => cluster.restart(pick(3)).await,
            3 => cluster.network.set_lost(chance.below(200)),
            4 => cluster.network.set_delay(Duration::from_millis(chance.below(10))),
            _ => {
                cluster.network.heal();
                cluster.network.set_lost(0);
            }
        }
        for _ in 0..BATCHES_PER_ROUND {
            let node = cluster.partition(pick(3)).progress().leader.unwrap_or_else(|| pick(3));
            sender.send(&cluster, node).await;
        }
    }
    cluster.network.heal();
    cluster.network.set_lost(0);
    cluster.network.set_delay(Duration::ZERO);
    // With all links sound every batch gets through.
    let last = sender.sequence;
    let healed = async {
        while sender.sequence < last + 5 {
            let leader = cluster.leader().await;
            sender.send(&cluster, leader).await;
        }
    };
    within(healed).await;
    let end = cluster.level().await;
    let expected: Vec<String> = sender.acknowledged.values().cloned().collect();
    assert_eq!(
        end,
        Offset::new(expected.len() as u64),
        "each batch is there once, in the order of its sequence"
    );
    for node in cluster.nodes.values() {
        assert_eq!(values(&node.partition, 0).await, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn acknowledged_batches_stay_once_each_and_in_order_whatever_fails() {
    // More of them, or one again: VARVE_SEEDS=FIRST..LAST.
    let range = std::env::var("VARVE_SEEDS").unwrap_or_else(|_| "1..2".to_owned());
    let (first, last) = range.split_once("..").unwrap();
    for seed in first.parse().unwrap()..=last.parse().unwrap() {
        run(seed).await;
    }
}

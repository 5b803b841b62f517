//! What commands and plans cost in a cluster with as many partitions as it may have.

#![allow(clippy::unwrap_used, reason = "a bench stops at what goes wrong")]
#![allow(missing_docs, reason = "divan makes public functions")]

use divan::{Bencher, black_box};
use std::collections::BTreeSet;
use varve_controller::{
    Command, Leading, Liveness, Metadata, PARTITIONS_MAX, REPORT_ENTRIES_MAX, TopicSettings, plan,
};
use varve_record::{NodeId, PartitionId, Term, Timestamp};

/// Nodes, of four racks.
const NODES: [u64; 3] = [3, 100, 1000];

fn main() {
    divan::main();
}

fn create(topic: &str, partitions: usize) -> Command {
    Command::CreateTopic {
        topic: topic.to_owned(),
        partitions: partitions as u32,
        replication_factor: 3,
        created_ms: Timestamp::new(0),
        settings: TopicSettings::default(),
        alive: Vec::new(),
    }
}

fn join(metadata: &mut Metadata, node: u64) {
    let addr = format!("n{node}:7171");
    let (rpc_addr, gossip_addr, rack) = (addr.clone(), addr, format!("r{}", node % 4));
    let name = format!("n{node}");
    metadata.apply(&Command::RegisterNode { name, rpc_addr, gossip_addr, rack }).unwrap();
}

/// A cluster with a hundred topics, full of partitions.
fn full(nodes: u64) -> Metadata {
    let mut metadata = Metadata::default();
    (0..nodes).for_each(|node| join(&mut metadata, node));
    for topic in 0..100 {
        metadata.apply(&create(&format!("t{topic}"), PARTITIONS_MAX / 100)).unwrap();
    }
    metadata
}

fn all_alive(nodes: u64) -> Liveness {
    Liveness { alive: (1..=nodes).map(NodeId::new).collect(), gone: BTreeSet::new() }
}

/// A report of news about `entries` partitions.
fn report(metadata: &Metadata, node: u64, entries: usize) -> Command {
    let node = NodeId::new(node);
    let hosted = metadata.hosted_by(node).take(entries);
    let leading = hosted.map(|(partition, placement)| {
        let term = Term::new(placement.term.get() + 1);
        Leading { partition, term, settled: Some(0) }
    });
    Command::Report { node, leading: leading.collect(), damaged: Vec::new() }
}

#[divan::bench(args = [1, REPORT_ENTRIES_MAX])]
fn report_while_a_reader_holds_the_state(bencher: Bencher, entries: usize) {
    let metadata = full(3);
    let report = report(&metadata, 1, entries);
    bencher.with_inputs(|| metadata.clone()).bench_local_values(|mut state| {
        state.apply(&report).unwrap();
        state
    });
}

#[divan::bench(args = NODES)]
fn create_a_topic(bencher: Bencher, nodes: u64) {
    let mut metadata = full(nodes);
    metadata.apply(&Command::DeleteTopic { topic: "t5".to_owned() }).unwrap();
    bencher.with_inputs(|| metadata.clone()).bench_local_values(|mut state| {
        state.apply(&create("new", 3)).unwrap();
        state
    });
}

#[divan::bench]
fn name_of_a_partition(bencher: Bencher) {
    let metadata = full(3);
    bencher.bench_local(|| metadata.partition_name(black_box(PartitionId::new(7_777))).map(|name| name.1));
}

#[divan::bench]
fn partitions_of_a_node(bencher: Bencher) {
    let metadata = full(3);
    bencher.bench_local(|| metadata.hosted_by(black_box(NodeId::new(2))).count());
}

#[divan::bench(args = NODES)]
fn plan_at_rest(bencher: Bencher, nodes: u64) {
    let (metadata, live) = (full(nodes), all_alive(nodes));
    assert_eq!(plan(&metadata, &live, &BTreeSet::new()), []);
    bencher.bench_local(|| plan(&metadata, &live, &BTreeSet::new()));
}

#[divan::bench(args = NODES)]
fn plan_with_a_new_node(bencher: Bencher, nodes: u64) {
    let mut metadata = full(nodes - 1);
    join(&mut metadata, nodes - 1);
    let live = all_alive(nodes);
    assert_ne!(plan(&metadata, &live, &BTreeSet::new()), []);
    bencher.bench_local(|| plan(&metadata, &live, &BTreeSet::new()));
}

#[divan::bench(args = NODES)]
fn health(bencher: Bencher, nodes: u64) {
    let (metadata, live) = (full(nodes), all_alive(nodes));
    bencher.bench_local(|| metadata.health(&live));
}

#[divan::bench]
fn to_json_and_back(bencher: Bencher) {
    let metadata = full(3);
    bencher.bench_local(|| {
        let bytes = serde_json::to_vec(&metadata).unwrap();
        serde_json::from_slice::<Metadata>(&bytes).unwrap()
    });
}

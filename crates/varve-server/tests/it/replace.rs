//! Nodes that take the place of others, and what they then have.

use varve_api::v1;
use varve_record::Compression;

use crate::support::{TOPIC, batch, encoded, within};
use crate::test_cluster::{TestCluster, until};

/// Produced in all, in MiB. Another volume: VARVE_REPLACE_MIB=64.
const PRODUCED_MIB: u64 = 200;

const BATCH_BYTES: usize = 1024 * 1024;
const RECORDS: usize = 16;

/// A batch that is like no other.
fn numbered(number: u64) -> varve_record::Batch {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(BATCH_BYTES);
    while bytes.len() < BATCH_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    let records: Vec<&[u8]> = bytes.chunks(BATCH_BYTES / RECORDS).collect();
    batch(&records, Compression::None)
}

/// A cluster of three on real directories, whose topic has been trimmed by its retention; and where the topic ends.
async fn trimmed() -> (TestCluster, u64) {
    let cluster = TestCluster::start_on_directories(3, |settings| {
        settings.retention_interval = std::time::Duration::from_millis(100);
    })
    .await;
    let produced = std::env::var("VARVE_REPLACE_MIB").map_or(PRODUCED_MIB, |mib| mib.parse().unwrap());
    let settings = v1::TopicSettings {
        segment_bytes: Some(2 * BATCH_BYTES as u64 + 4096),
        retention_bytes: Some(produced / 2 * BATCH_BYTES as u64),
        ..Default::default()
    };
    cluster
        .create_topic(v1::CreateTopicRequest {
            name: TOPIC.to_owned(),
            partitions: 1,
            replication_factor: 3,
            settings: Some(settings),
        })
        .await;
    for number in 0..produced {
        let first = cluster.produce_request(1, encoded(&numbered(number))).await;
        assert_eq!(first, number * RECORDS as u64);
    }
    let end = produced * RECORDS as u64;
    for number in 1..=3 {
        until(async || {
            let mut client = cluster.member(number).cluster.clone();
            let request = v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing: false };
            let described = within(client.describe_topic(request)).await.unwrap().into_inner();
            let partition = described.topic.unwrap().partitions.remove(0);
            (partition.log_start_offset.is_some_and(|start| start >= end / 4), partition)
        })
        .await;
    }
    (cluster, end)
}

/// All that run have the same, down to the byte, and it is what was produced.
async fn nothing_is_lost(cluster: &TestCluster, end: u64) {
    let first = cluster.stored(1, end).await;
    assert!(first.log_start_offset > 0, "retention has trimmed it");
    let kept = (end - first.log_start_offset) / RECORDS as u64;
    assert_eq!(first.batches.len() as u64, kept);
    for (place, found) in first.batches.iter().enumerate() {
        let number = end / RECORDS as u64 - kept + place as u64;
        let expected = numbered(number).with_base_offset(varve_record::Offset::new(number * RECORDS as u64));
        assert!(*found == *expected.as_bytes(), "batch {number} is another");
    }
    for number in cluster.members.keys() {
        let found = cluster.stored(*number, end).await;
        assert_eq!(found.log_start_offset, first.log_start_offset, "node {number}");
        assert!(found == first, "node {number} has something else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_replaces_a_decommissioned_one_has_every_record_that_is_kept() {
    let (mut cluster, end) = trimmed().await;
    cluster.join(4).await;
    let leaver = 3;
    let id = cluster.member(leaver).id();
    let failed = cluster.member(leaver).node.failed();
    let mut client = cluster.member(1).cluster.clone();
    within(client.decommission_server(v1::DecommissionServerRequest { id, cancel: false })).await.unwrap();
    within(failed).await;
    cluster.kill(leaver);
    cluster.healthy().await;
    let mut replicas = cluster.describe(TOPIC).await.partitions.remove(0).replicas;
    replicas.sort_unstable();
    assert_eq!(replicas, [1, 2, cluster.member(4).id()]);
    nothing_is_lost(&cluster, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_has_every_record_that_is_kept_again() {
    let (mut cluster, end) = trimmed().await;
    cluster.crash(3).await;
    cluster.lose_disk(3);
    cluster.join(3).await;
    until(async || {
        let servers = cluster.servers().await;
        (servers.iter().all(|server| server.id != 3), servers)
    })
    .await;
    cluster.healthy().await;
    nothing_is_lost(&cluster, end).await;
}

use crate::cluster::{Cluster, GROUP, until};
use crate::fixture::{Fixture, PARTITION, append, batch, values, within};
use std::collections::BTreeSet;
use std::path::PathBuf;
use varve_env::disk::Disk;
use varve_record::{NodeId, Offset};
use varve_replica::{GroupError, OpenReplicaError, PartitionSettings, ProduceError, ReadError, Start};
use varve_storage::PartitionConfig;

#[tokio::test]
async fn damage_is_reported_and_never_served() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    for n in 0..10 {
        append(&partition, batch(&[&format!("value-{n}")])).await.unwrap();
    }
    drop(partition);
    let disk = fixture.disk.crash(varve_env::disk::CrashMode::ProcessOnly);
    let segment = disk.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    let bytes = disk.contents(&segment).unwrap();
    let at = bytes.windows(7).position(|window| window == b"value-4").unwrap();
    disk.flip(&segment, at as u64, 0x10).unwrap();

    let fixture = Fixture::on(disk, fixture.clock);
    let partition = fixture.partition().await;
    let damage = partition.status().damage.expect("later frames say that it was durable");
    assert_eq!(damage.file, segment);
    let sound = within(partition.read(Offset::new(0), None, 1 << 20)).await.unwrap();
    assert_eq!(sound.batches.len(), 4, "what lies before the damage is served");
    let refused = within(partition.read(Offset::new(4), None, 1 << 20)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Damaged(_)), "{refused}");
    let refused = append(&partition, batch(&["more"])).await.unwrap_err();
    assert!(matches!(refused, ProduceError::Damaged(_)), "{refused}");
}

/// The last segment's header cannot be read, and segments before the log's start are gone: nothing tells where the log ends.
#[tokio::test]
async fn a_trimmed_log_whose_end_is_damaged_answers_every_start() {
    let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
    let settings = PartitionSettings { log, ..PartitionSettings::default() };
    let fixture = Fixture::new();
    let partition = fixture.partition_with(settings.clone()).await;
    let value = "x".repeat(16 * 1024);
    for _ in 0..12 {
        append(&partition, batch(&[&value])).await.unwrap();
    }
    within(partition.trim(Offset::new(4))).await.unwrap();
    until("the first segment is gone", || {
        let is_first = |path: &PathBuf| path.ends_with("00000000000000000000-0000000001.log");
        (!fixture.disk.files().iter().any(is_first)).then_some(())
    })
    .await;
    within(partition.stop()).await;
    drop(partition);
    fixture.storage.close().unwrap();
    let disk = fixture.disk.crash(varve_env::disk::CrashMode::ProcessOnly);
    let segments: Vec<_> =
        disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    disk.flip(segments.last().unwrap(), 20, 0xff).unwrap();

    let fixture = Fixture::on(disk, fixture.clock);
    let partition = fixture.partition_with(settings).await;
    assert!(partition.status().damage.is_some());
    let progress = partition.progress();
    assert!(progress.log_start_offset < progress.high_watermark, "what lies before is served: {progress:?}");
    let resolve = async |start| within(partition.resolve(start, true)).await.unwrap();
    assert_eq!(resolve(Start::Earliest).await, progress.log_start_offset);
    assert_eq!(resolve(Start::Offset(Offset::new(0))).await, progress.log_start_offset);
    assert_eq!(resolve(Start::TailMinus(100)).await, progress.log_start_offset);
    assert_eq!(resolve(Start::Tail).await, progress.high_watermark);
    // Nobody may be left to wait there for records that were lost.
    for offset in [progress.high_watermark, Offset::new(11), Offset::new(100)] {
        let refused = within(partition.read(offset, None, 1 << 20)).await.unwrap_err();
        assert!(matches!(refused, ReadError::Damaged(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_anew() {
    let fixture = Fixture::new();
    let partition = fixture.partition().await;
    append(&partition, batch(&["x"])).await.unwrap();
    drop(partition);
    let fixture = fixture.crash();
    let dir = std::path::Path::new("/data/partitions/0000000001");
    fixture.disk.remove_dir_all(dir).unwrap();
    let refused = fixture.join(PartitionSettings::default()).await.unwrap_err();
    assert!(matches!(refused, OpenReplicaError::Lost { id } if id == PARTITION), "{refused}");
}

#[tokio::test]
async fn a_damaged_replica_comes_back_as_a_new_one_under_its_number() {
    let mut cluster = Cluster::new(3).await;
    let large = "x".repeat(10_000);
    for _ in 0..10 {
        cluster.append(batch(&[&large])).await;
    }
    cluster.level().await;
    let leader = cluster.leader().await;
    let damaged = *cluster.nodes.keys().find(|node| **node != leader).unwrap();
    let disk = cluster.cut_power(damaged).await;
    let segment =
        disk.files().into_iter().find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
    disk.flip(&segment, 20_000, 1).unwrap();
    cluster.start(damaged, disk).await;
    let partition = cluster.partition(damaged).clone();
    assert!(partition.status().damage.is_some());
    assert!(matches!(partition.members(), Err(GroupError::Idle)), "it keeps out of the group");

    let rest: BTreeSet<NodeId> = cluster.nodes.keys().copied().filter(|node| *node != damaged).collect();
    let among: Vec<NodeId> = rest.iter().copied().collect();
    let leader = cluster.leader_among(&among).await;
    within(cluster.partition(leader).change_voters(&rest)).await.unwrap();
    cluster.append_among(&among, batch(&["meanwhile"])).await;

    let storage = cluster.nodes[&damaged].storage.clone();
    let aside = storage.quarantine_partition(GROUP).unwrap();
    drop((partition, storage));
    let disk = cluster.cut_power(damaged).await;
    assert!(disk.files().iter().any(|path| path.starts_with(&aside)));
    cluster.start(damaged, disk).await;
    assert_eq!(cluster.partition(damaged).status().damage.map(|damage| damage.reason), None);
    let leader = cluster.leader_among(&among).await;
    within(cluster.partition(leader).add_learner(damaged)).await.unwrap();
    let all: BTreeSet<NodeId> = cluster.nodes.keys().copied().collect();
    within(cluster.partition(leader).change_voters(&all)).await.unwrap();
    cluster.append(batch(&["together"])).await;
    assert_eq!(cluster.level().await, Offset::new(12));
    let found = values(cluster.partition(damaged), 0).await;
    assert_eq!((found.len(), found[10].as_str(), found[11].as_str()), (12, "meanwhile", "together"));
}

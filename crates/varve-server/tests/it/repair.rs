//! Copies that are damaged: found, taken out, set aside, and made anew.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_env::disk::{Disk, FaultyDisk, OpKind};
use varve_record::{Batch, Compression};
use varve_server::{METADATA_SET_ASIDE_MAX, Node, StartError};

use crate::support::{TOPIC, batch, consume_from, encoded, env_on, values, within};
use crate::test_cluster::{TestCluster, unforwarded, until};

const BATCHES: u64 = 40;
const RECORDS: u64 = 4;

/// A cluster of three with a topic of many small segments, all of it on each node; and who leads.
async fn loaded() -> (TestCluster, usize) {
    let cluster = TestCluster::start_with(3, |_| {}).await;
    let settings = v1::TopicSettings { segment_bytes: Some(64 * 1024), ..Default::default() };
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: 1,
        replication_factor: 3,
        settings: Some(settings),
    };
    cluster.create_topic(request).await;
    for number in 0..BATCHES {
        cluster.produce_request(1, encoded(&filled(number as u8, 4000))).await;
    }
    for number in 1..=3 {
        cluster.stored(number, BATCHES * RECORDS).await;
    }
    let leader = cluster.leader().await;
    (cluster, leader)
}

/// A batch of records that consist of one byte.
fn filled(byte: u8, record_bytes: usize) -> Batch {
    let value = vec![byte; record_bytes];
    batch(&[value.as_slice(); RECORDS as usize], Compression::None)
}

/// Segments of the topic's partition, oldest first.
fn segments(disk: &FaultyDisk) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| {
        let of_topic = path.starts_with("/data/partitions/0000000001");
        of_topic && path.extension().is_some_and(|end| end == "log")
    };
    disk.files().into_iter().filter(is_segment).collect()
}

/// Spoils a byte in the middle of a sealed segment.
fn spoil(disk: &FaultyDisk) {
    let segments = segments(disk);
    assert!(segments.len() > 5, "{segments:?}");
    disk.flip(&segments[2], 20_000, 0x40).unwrap();
}

fn quarantined(disk: &FaultyDisk) -> bool {
    disk.files().iter().any(|path| path.to_string_lossy().contains("0000000001.quarantined-"))
}

/// Reads a node's own replica until it says that it is damaged; gives the offset.
async fn read_up_to_damage(cluster: &TestCluster, number: usize) -> u64 {
    let mut log = cluster.member(number).log.clone();
    let mut offset = 0;
    within(async {
        loop {
            match log.consume(unforwarded(consume_from(offset))).await {
                Ok(piece) => {
                    assert!(
                        !piece.get_ref().records.is_empty(),
                        "nothing at {offset}, and no word of damage"
                    );
                    offset = piece.get_ref().next_offset;
                }
                Err(status) => {
                    let error = ApiError::from_status(&status);
                    assert_eq!(error.reason, Reason::DataLoss, "{error}");
                    return offset;
                }
            }
        }
    })
    .await
}

/// Two of three are there, and one of them has no vote: nobody leads, however often the other asks.
async fn nobody_leads(cluster: &TestCluster, sound: usize) {
    let mut log = cluster.member(sound).log.clone();
    let tail = v1::GetTailRequest {
        topic: TOPIC.to_owned(),
        consistency: v1::ReadConsistency::Linearizable.into(),
        ..Default::default()
    };
    let status = within(log.get_tail(unforwarded(tail))).await.expect_err("nobody leads");
    let error = ApiError::from_status(&status);
    assert!([Reason::NoLeader, Reason::NotLeader].contains(&error.reason), "{error}");
}

/// All nodes have the same, down to the byte.
async fn same_everywhere(cluster: &TestCluster, until: u64) {
    let first = cluster.stored(*cluster.members.keys().next().unwrap(), until).await;
    for number in cluster.members.keys() {
        let found = cluster.stored(*number, until).await;
        assert!(found == first, "node {number} has something else");
    }
    assert_eq!(first.log_start_offset, 0);
}

/// Damage in the copy of `damaged` is found while one of the others is away, so that nothing can be repaired yet.
async fn is_repaired(mut cluster: TestCluster, damaged: usize) {
    let other = (1..=3).find(|number| *number != damaged).unwrap();
    let sound = (1..=3).find(|number| ![damaged, other].contains(number)).unwrap();
    cluster.kill(other);
    cluster.kill(damaged);
    spoil(&cluster.disks[&damaged]);
    cluster.join(damaged).await;
    let health = until(async || {
        let health = cluster.health(sound).await;
        (health.damaged_replicas == 1, health)
    })
    .await;
    assert!(!health.healthy);
    assert!(health.problems.iter().any(|problem| problem.contains("damaged replica")), "{health:?}");
    nobody_leads(&cluster, sound).await;
    // What is sound can be read there; the rest is not served.
    let mut log = cluster.member(damaged).log.clone();
    read_up_to_damage(&cluster, damaged).await;
    let status = within(log.produce(unforwarded(values(&["x"])))).await.expect_err("it takes nothing");
    let error = ApiError::from_status(&status);
    assert!([Reason::NoLeader, Reason::NotLeader].contains(&error.reason), "{error}");

    cluster.join(other).await;
    cluster.produce(damaged, "meanwhile").await;
    until(async || (quarantined(&cluster.disks[&damaged]), cluster.health(sound).await)).await;
    cluster.healthy().await;
    same_everywhere(&cluster, BATCHES * RECORDS + 1).await;
    assert_eq!(cluster.health(damaged).await.damaged_replicas, 0);
    assert!(!quarantined(&cluster.disks[&sound]) && !quarantined(&cluster.disks[&other]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followers_damaged_copy_is_found_at_a_start_and_made_anew() {
    let (cluster, leader) = loaded().await;
    let follower = (1..=3).find(|number| *number != leader).unwrap();
    is_repaired(cluster, follower).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaders_damaged_copy_is_found_at_a_start_and_made_anew() {
    let (cluster, leader) = loaded().await;
    is_repaired(cluster, leader).await;
}

/// After a clean stop nothing is read before somebody asks for it.
async fn is_repaired_once_read(mut cluster: TestCluster, damaged: usize, leads: bool) {
    cluster.stop(damaged).await;
    spoil(&cluster.disks[&damaged]);
    cluster.join(damaged).await;
    cluster.healthy().await;
    if leads {
        cluster.transfer(TOPIC, 0, damaged).await;
    }
    assert!(read_up_to_damage(&cluster, damaged).await > 0);
    until(async || (quarantined(&cluster.disks[&damaged]), cluster.health(damaged).await)).await;
    cluster.healthy().await;
    let next = cluster.produce(damaged, "afterwards").await;
    assert_eq!(next, BATCHES * RECORDS);
    same_everywhere(&cluster, next + 1).await;
    // It stays so after a start.
    cluster.stop(damaged).await;
    cluster.join(damaged).await;
    cluster.healthy().await;
    same_everywhere(&cluster, next + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_read_finds_on_a_follower_is_repaired() {
    let (cluster, leader) = loaded().await;
    let follower = (1..=3).find(|number| *number != leader).unwrap();
    is_repaired_once_read(cluster, follower, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_read_finds_on_the_leader_is_repaired() {
    let (cluster, leader) = loaded().await;
    is_repaired_once_read(cluster, leader, true).await;
}

/// An open does not see it again: the metadata remember it.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_remembered_over_a_restart() {
    let (mut cluster, leader) = loaded().await;
    let [damaged, other] = [1, 2, 3].into_iter().filter(|number| *number != leader).collect::<Vec<_>>()[..]
    else {
        panic!("there are two followers")
    };
    cluster.stop(damaged).await;
    spoil(&cluster.disks[&damaged]);
    cluster.join(damaged).await;
    cluster.healthy().await;
    cluster.stop(other).await;
    assert!(read_up_to_damage(&cluster, damaged).await > 0);
    until(async || {
        let health = cluster.health(leader).await;
        (health.damaged_replicas == 1, health)
    })
    .await;
    cluster.stop(damaged).await;
    cluster.join(damaged).await;
    nobody_leads(&cluster, leader).await;
    cluster.join(other).await;
    until(async || (quarantined(&cluster.disks[&damaged]), cluster.health(damaged).await)).await;
    cluster.healthy().await;
    same_everywhere(&cluster, BATCHES * RECORDS).await;
}

/// The leader cannot read what a follower lacks, which is no damage: its replica fails, and is opened again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_failed_is_opened_again() {
    let (mut cluster, leader) = loaded().await;
    let [away, other] = [1, 2, 3].into_iter().filter(|number| *number != leader).collect::<Vec<_>>()[..]
    else {
        panic!("there are two followers")
    };
    // The metadata lie on the same disk, and are not to be read there by whoever is sent them.
    cluster.transfer("", 0, other).await;
    cluster.kill(away);
    // More than what is kept in memory.
    for number in 0..8 {
        cluster.produce_request(leader, encoded(&filled(number, 250_000))).await;
    }
    let last = (BATCHES + 8) * RECORDS;
    cluster.stored(other, last).await;
    cluster.disks[&leader].fail_from(OpKind::Read, 0, ErrorKind::Other);
    cluster.join(away).await;
    let other_leads = async || {
        let leader_now = cluster.leader().await;
        (leader_now != leader, leader_now)
    };
    until(other_leads).await;
    cluster.produce(other, "without it").await;
    cluster.disks[&leader].heal();
    cluster.healthy().await;
    same_everywhere(&cluster, last + 1).await;
    cluster.produce(leader, "with it").await;
    same_everywhere(&cluster, last + 2).await;
    assert!(!quarantined(&cluster.disks[&leader]));
}

const METADATA: &str = "/data/partitions/0000000000";

/// What may happen to a node's copy of the metadata.
#[derive(Clone, Copy)]
enum Harm {
    Gone,
    Spoilt,
}

impl Harm {
    fn befall(self, disk: &FaultyDisk) {
        let is_log = |path: &PathBuf| {
            path.starts_with(METADATA) && path.extension().is_some_and(|extension| extension == "log")
        };
        match self {
            Self::Gone => disk.remove_dir_all(&PathBuf::from(METADATA)).unwrap(),
            Self::Spoilt => {
                let segment = disk.files().into_iter().find(is_log).unwrap();
                disk.flip(&segment, 20, 0xff).unwrap();
            }
        }
    }
}

fn set_aside(disk: &FaultyDisk) -> bool {
    disk.files().iter().any(|path| path.to_string_lossy().contains("0000000000.quarantined-"))
}

/// It comes back under its id, with what it had of the topic, and as a voter as good as any.
async fn metadata_are_learnt_anew(harm: Harm, of_leader: bool) {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.produce(1, "kept").await;
    cluster.stored(3, 1).await;
    cluster.transfer("", 0, if of_leader { 3 } else { 1 }).await;
    cluster.crash(3).await;
    harm.befall(&cluster.disks[&3]);
    cluster.join(3).await;
    assert_eq!(cluster.member(3).id(), 3);
    assert_eq!(set_aside(&cluster.disks[&3]), matches!(harm, Harm::Spoilt));
    assert!(!quarantined(&cluster.disks[&3]), "only the metadata are");
    cluster.healthy().await;
    assert_eq!(cluster.values(3, 1).await, ["kept"]);
    // Without its vote there is no majority.
    cluster.crash(1).await;
    cluster.create_topic(v1::CreateTopicRequest { name: "later".to_owned(), ..Default::default() }).await;
    assert_eq!(cluster.produce(3, "more").await, 1);
    cluster.transfer("", 0, 3).await;
    cluster.join(1).await;
    cluster.healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_metadata_are_set_aside_and_learnt_anew() {
    metadata_are_learnt_anew(Harm::Spoilt, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_metadata_are_learnt_anew() {
    metadata_are_learnt_anew(Harm::Gone, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_metadata_of_the_one_that_led_them_are_learnt_anew() {
    metadata_are_learnt_anew(Harm::Spoilt, true).await;
}

/// Whoever is set aside has no vote for a while: so that is not done before the others can do without it.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_metadata_are_left_alone_until_another_node_leads() {
    let mut cluster = TestCluster::start(3).await;
    cluster.kill_all_but(2);
    Harm::Spoilt.befall(&cluster.disks[&3]);
    let settings = cluster.settings(3);
    let env = env_on(&cluster.disks[&3]);
    let started = timeout(Duration::from_secs(3), Node::start(env, settings)).await;
    assert!(started.is_err(), "nobody leads");
    assert!(!set_aside(&cluster.disks[&3]));
    cluster.gossip.fail(&TestCluster::name(3));
    cluster.join(1).await;
    cluster.join(3).await;
    assert!(set_aside(&cluster.disks[&3]));
    cluster.healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_copy_of_the_metadata_is_left_alone() {
    for count in [1, 2] {
        let mut cluster = TestCluster::start(count).await;
        cluster.create(1).await;
        cluster.kill(1);
        Harm::Spoilt.befall(&cluster.disks[&1]);
        let error = cluster.try_join(1).await.expect_err("nobody else has them");
        assert!(matches!(error, StartError::MetadataDamaged(_)), "{error}");
        assert!(error.to_string().contains("restore the directory"), "{error}");
        assert!(!set_aside(&cluster.disks[&1]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_are_damaged_again_and_again_are_left_to_the_operator() {
    let mut cluster = TestCluster::start(3).await;
    for _ in 0..METADATA_SET_ASIDE_MAX {
        cluster.kill(3);
        Harm::Spoilt.befall(&cluster.disks[&3]);
        cluster.join(3).await;
        cluster.healthy().await;
    }
    cluster.kill(3);
    Harm::Spoilt.befall(&cluster.disks[&3]);
    let error = cluster.try_join(3).await.expect_err("it is enough");
    assert!(matches!(error, StartError::MetadataDamagedAgain { .. }), "{error}");
}

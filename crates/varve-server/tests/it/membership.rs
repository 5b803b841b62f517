//! Clusters that grow and shrink, and topics that change while a node is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_env::disk::FaultyDisk;

use varve_server::{Node, NodeConfig};

use crate::support::{TOPIC, env_on, record, within};
use crate::test_cluster::{LOOK, TestCluster, until};

fn topic(name: &str, partitions: u32) -> v1::CreateTopicRequest {
    v1::CreateTopicRequest { name: name.to_owned(), partitions, replication_factor: 3, ..Default::default() }
}

async fn delete(cluster: &TestCluster, name: &str) {
    let mut client = cluster.any().cluster.clone();
    within(client.delete_topic(v1::DeleteTopicRequest { name: name.to_owned() })).await.unwrap();
}

/// The directories of partitions on a disk, by number.
fn directories(disk: &FaultyDisk) -> Vec<String> {
    let paths = disk.files();
    let parts = paths.iter().filter_map(|path| path.strip_prefix("/data/partitions").ok());
    let mut names: Vec<String> =
        parts.filter_map(|path| Some(path.iter().next()?.to_str()?.to_owned())).collect();
    names.dedup();
    names
}

fn request(topic: &str, partition: u32, value: &str) -> v1::ProduceRequest {
    let (topic, records) = (topic.to_owned(), vec![record(value)]);
    v1::ProduceRequest { topic, partition: Some(partition), records, ..Default::default() }
}

/// Appends one record at an offset, also where an election makes the outcome of a try unknown.
async fn append_once(cluster: &TestCluster, request: v1::ProduceRequest, offset: u64) {
    let request = v1::ProduceRequest { expected_offset: Some(offset), ..request };
    until(async || {
        let mut log = cluster.member(1).log.clone();
        let answer = log.produce(request.clone()).await;
        let is_there = match &answer {
            Ok(answer) => answer.get_ref().first_offset == Some(offset),
            Err(status) => ApiError::from_status(status).reason == Reason::ExpectedOffsetMismatch,
        };
        (is_there, answer)
    })
    .await
    .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_change_while_a_node_is_away_are_as_they_should_be_when_it_is_back() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create_topic(topic(TOPIC, 1)).await;
    cluster.create_topic(topic("doomed", 2)).await;
    cluster.create_topic(topic("again", 1)).await;
    for name in [TOPIC, "doomed", "again"] {
        cluster.produce_request(1, request(name, 0, "old")).await;
    }
    cluster.healthy().await;
    cluster.transfer("", 0, 1).await;
    cluster.crash(3).await;

    delete(&cluster, "doomed").await;
    delete(&cluster, "again").await;
    let mut client = cluster.any().cluster.clone();
    let more = v1::AlterTopicRequest { name: TOPIC.to_owned(), partitions: Some(3), ..Default::default() };
    within(client.alter_topic(more)).await.unwrap();
    cluster.create_topic(topic("again", 2)).await;
    cluster.create_topic(topic("fresh", 1)).await;
    let wanted =
        [(TOPIC, 0, 1), (TOPIC, 1, 0), (TOPIC, 2, 0), ("again", 0, 0), ("again", 1, 0), ("fresh", 0, 0)];
    for (name, partition, first) in wanted {
        append_once(&cluster, request(name, partition, "new"), first).await;
    }

    cluster.join(3).await;
    cluster.healthy().await;
    // Its own replicas have all of it.
    for (name, partition, first) in wanted {
        let tail = until(async || {
            let mut log = cluster.member(3).log.clone();
            let request = v1::GetTailRequest { topic: name.to_owned(), partition, ..Default::default() };
            let tail = log.get_tail(crate::test_cluster::unforwarded(request)).await;
            (tail.as_ref().is_ok_and(|tail| tail.get_ref().high_watermark > first), tail)
        });
        assert_eq!(tail.await.unwrap().into_inner().high_watermark, first + 1, "{name} {partition}");
    }
    // Every node has the same partitions, and nothing of those that are gone.
    let sound = directories(&cluster.disks[&1]);
    until(async || {
        let found = directories(&cluster.disks[&3]);
        (found == sound, (found, sound.clone()))
    })
    .await;
    assert_eq!(sound.len(), 1 + wanted.len(), "{sound:?}");
    let mut client = cluster.member(3).cluster.clone();
    let listed = within(client.list_topics(v1::ListTopicsRequest::default())).await.unwrap().into_inner();
    let names: Vec<String> = listed.topics.into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["again", TOPIC, "fresh"]);
    // And so it is after another start.
    cluster.stop(3).await;
    cluster.join(3).await;
    cluster.healthy().await;
    assert_eq!(directories(&cluster.disks[&3]), sound);
}

/// What a producer got acknowledged.
struct Producing {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<BTreeMap<u64, String>>,
}

impl Producing {
    /// Begins to produce to partition 0 of [`TOPIC`], one record after the other, with the retries that are safe.
    fn begin(cluster: &TestCluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, mut log) = (Arc::clone(&stop), cluster.member(1).log.clone());
        let task = tokio::spawn(async move {
            let mut acknowledged = BTreeMap::new();
            let mut number = 0;
            while !told.load(Ordering::Relaxed) {
                let value = format!("value {number}");
                match within(log.produce(request(TOPIC, 0, &value))).await {
                    Ok(answer) => {
                        let offset = answer.into_inner().first_offset.unwrap();
                        assert_eq!(acknowledged.insert(offset, value), None, "{offset} twice");
                        number += 1;
                    }
                    Err(status) => {
                        let error = ApiError::from_status(&status);
                        assert!(error.retryable(true), "{error}");
                        // Another value, for this one may have been appended.
                        number += 1;
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
            acknowledged
        });
        Self { stop, task }
    }

    async fn end(self) -> BTreeMap<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        within(self.task).await.unwrap()
    }
}

/// The nodes' shares of the leaderships of [`TOPIC`] differ by no more than one.
async fn leaders_are_balanced(cluster: &TestCluster) {
    until(async || {
        let mut led: BTreeMap<u64, usize> = cluster.members.values().map(|member| (member.id(), 0)).collect();
        for partition in cluster.describe(TOPIC).await.partitions {
            if let Some(leader) = partition.leader {
                *led.entry(leader).or_default() += 1;
            }
        }
        let (most, least) = (led.values().max().unwrap(), led.values().min().unwrap());
        (most - least <= 1 && led.values().sum::<usize>() == 6, led)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_to_five_and_shrinks_to_three_while_it_is_produced_to() {
    let mut cluster = TestCluster::start(1).await;
    cluster.create_topic(topic(TOPIC, 6)).await;
    let producing = Producing::begin(&cluster);
    // Whoever is asked never sees an even number of voters: they change in one step.
    let watched = cluster.member(1).cluster.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let watching = tokio::spawn(async move {
        let mut seen = Vec::new();
        while !told.load(Ordering::Relaxed) {
            let servers =
                watched.clone().get_servers(v1::GetServersRequest {}).await.unwrap().into_inner().servers;
            let voters = servers.iter().filter(|server| server.controller_voter).count();
            if seen.last() != Some(&voters) {
                seen.push(voters);
            }
            tokio::time::sleep(LOOK).await;
        }
        seen
    });
    for count in [2, 3] {
        cluster.join(count).await;
        cluster.healthy().await;
    }
    leaders_are_balanced(&cluster).await;
    for count in [4, 5] {
        cluster.join(count).await;
        cluster.healthy().await;
    }
    leaders_are_balanced(&cluster).await;
    for number in [5, 4] {
        let id = cluster.member(number).id();
        let failed = cluster.member(number).node.failed();
        let mut client = cluster.member(1).cluster.clone();
        within(client.decommission_server(v1::DecommissionServerRequest { id, cancel: false }))
            .await
            .unwrap();
        within(failed).await;
        cluster.kill(number);
        cluster.healthy().await;
    }
    leaders_are_balanced(&cluster).await;
    stop.store(true, Ordering::Relaxed);
    let seen = watching.await.unwrap();
    // In a joint change the voters of both sides count.
    let resting: Vec<usize> = seen.into_iter().filter(|voters| voters % 2 == 1).collect();
    assert!(resting.starts_with(&[1, 3]) && resting.contains(&5) && resting.ends_with(&[3]), "{resting:?}");

    let acknowledged = producing.end().await;
    assert!(!acknowledged.is_empty());
    for number in 1..=3 {
        let count = *acknowledged.keys().next_back().unwrap() as usize + 1;
        let values = cluster.values(number, count).await;
        for (offset, value) in &acknowledged {
            assert_eq!(values[*offset as usize], *value, "node {number}, offset {offset}");
        }
    }

    // Leaders go where they are asked to.
    for number in [1, 2, 3] {
        cluster.transfer(TOPIC, 0, number).await;
        assert_eq!(cluster.leader().await, number);
        cluster.transfer("", 0, number).await;
        let id = cluster.member(number).id();
        until(async || {
            let servers = cluster.servers().await;
            (servers.iter().any(|server| server.is_leader && server.id == id), servers)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_gossips_and_cannot_be_reached_holds_up_no_other() {
    let mut cluster = TestCluster::start(1).await;
    cluster.create_topic(topic(TOPIC, 1)).await;
    cluster.produce(1, "kept").await;
    let nowhere = "127.0.0.1:1".to_owned();
    let settings = NodeConfig { advertise_addr: Some(nowhere.clone()), ..cluster.settings(2) };
    let unreached = tokio::spawn(Node::start(env_on(&FaultyDisk::new(2)), settings));
    until(async || {
        let servers = cluster.servers().await;
        (servers.len() == 2, servers)
    })
    .await;
    cluster.join(3).await;
    cluster.join(4).await;
    let sound: Vec<u64> = [1, 3, 4].map(|number| cluster.member(number).id()).into();
    until(async || {
        let servers = cluster.servers().await;
        let voters: Vec<u64> =
            servers.iter().filter(|server| server.controller_voter).map(|server| server.id).collect();
        (voters == sound, servers)
    })
    .await;
    until(async || {
        let partition = cluster.describe(TOPIC).await.partitions[0].clone();
        let mut replicas = partition.replicas.clone();
        replicas.sort_unstable();
        (replicas == sound && partition.leaving.is_empty(), partition)
    })
    .await;
    let health = cluster.health(3).await;
    let says_so =
        health.problems.iter().any(|problem| problem.contains("node-2") && problem.contains(&nowhere));
    assert!(says_so, "{health:?}");
    cluster.crash(1).await;
    cluster.produce(3, "new").await;
    assert_eq!(cluster.values(4, 2).await, ["kept", "new"]);
    unreached.abort();
}

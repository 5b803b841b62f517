//! When the trouble is over: all must be well again within a deadline, and every copy of the log the same.

use super::journal::Place;
use super::load::{Load, copy_of, probe};
use super::security::{FOUNDER, HEALER};
use super::site::chain;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use varve_client::api::v1::{CreateTopicRequest, ReadConsistency, Topic, TopicSettings};
use varve_client::{Client, ClientError};

/// How often it is looked whether all is well.
const LOOK: Duration = Duration::from_millis(100);

/// How far a client that waits for something has come, for when it never does.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage(Rc<RefCell<String>>);

impl Stage {
    pub(super) fn set(&self, stage: impl Into<String>) {
        self.0.replace(stage.into());
    }

    pub(super) fn get(&self) -> String {
        self.0.borrow().clone()
    }
}

/// The logs in the end, by partition.
pub(super) type Logs = Rc<RefCell<BTreeMap<Place, Vec<u64>>>>;

/// Waits for the cluster to be well, and makes the topics.
pub(super) async fn found(load: Load, stage: Stage) -> turmoil::Result {
    stage.set("a client connects");
    let client = load.connect(100, FOUNDER).await?;
    wait_until_well(&client, &stage, load.plan.nodes).await;
    for topic in &load.plan.topics {
        stage.set(format!("topic {} is made", topic.name));
        let settings = TopicSettings { segment_bytes: Some(topic.segment_bytes), ..Default::default() };
        let request = CreateTopicRequest {
            name: topic.name.to_owned(),
            partitions: topic.partitions,
            replication_factor: 3,
            settings: Some(settings),
        };
        client.create_topic(request).await?;
    }
    wait_until_well(&client, &stage, load.plan.nodes).await;
    Ok(())
}

/// Waits for the cluster to be well, appends a few records to every partition, and reads every copy of it.
pub(super) async fn heal(load: Load, stage: Stage, logs: Logs) -> turmoil::Result {
    stage.set("a client connects");
    let client = load.connect(101, HEALER).await?;
    wait_until_well(&client, &stage, load.plan.nodes_in_the_end()).await;
    while load.appending() > 0 {
        stage.set(format!("{} who append are done", load.appending()));
        tokio::time::sleep(LOOK).await;
    }
    for place in load.plan.places() {
        stage.set(format!("records are appended to {place:?}"));
        probe(&load, &client, place).await;
    }
    for place in load.plan.places() {
        stage.set(format!("the copies of {place:?} are read"));
        match copies_of(&load, &client, place).await {
            Ok(log) => {
                load.stop_reading(place, log.len() as u64);
                logs.borrow_mut().insert(place, log);
            }
            Err(error) => load.journal.complain(format!("{place:?} cannot be read: {}", chain(&error))),
        }
    }
    stage.set("readers come to the end");
    Ok(())
}

/// Waits until a server says that all is well, and so many nodes are there.
async fn wait_until_well(client: &Client, stage: &Stage, nodes: usize) {
    loop {
        let health = client.cluster_health().await;
        let servers = client.servers().await;
        stage.set(format!("all is well: {health:?} {servers:?}"));
        if let (Ok(health), Ok(servers)) = (health, servers) {
            let alive = servers.servers.iter().filter(|server| server.alive).count();
            if health.healthy && health.moving_partitions == 0 && alive == nodes {
                return;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What a partition holds, the same on every replica.
async fn copies_of(load: &Load, client: &Client, place: Place) -> Result<Vec<u64>, ClientError> {
    let tail = client.get_tail(place.topic, place.partition, ReadConsistency::Linearizable).await?;
    let topic = client.describe_topic(place.topic).await?;
    let mut first = None;
    for addr in replicas(client, &topic, place).await? {
        let copy = copy_of(client, place, addr.clone(), tail.high_watermark).await?;
        match &first {
            None => first = Some(copy),
            Some(first) if *first == copy => {}
            Some(_) => load.journal.complain(format!("the copy of {place:?} on {addr} is another")),
        }
    }
    let values = first.unwrap_or_default().values;
    if values.len() as u64 != tail.high_watermark {
        let count = values.len();
        load.journal.complain(format!("{place:?} has {count} records up to offset {}", tail.high_watermark));
    }
    Ok(values)
}

/// Where the replicas of a partition are.
async fn replicas(client: &Client, topic: &Topic, place: Place) -> Result<Vec<String>, ClientError> {
    let servers = client.servers().await?.servers;
    let partition = topic.partitions.iter().find(|partition| partition.partition == place.partition);
    let ids = partition.map(|partition| partition.replicas.clone()).unwrap_or_default();
    let at = |id: &u64| servers.iter().find(|server| server.id == *id).map(|server| server.rpc_addr.clone());
    Ok(ids.iter().filter_map(at).collect())
}

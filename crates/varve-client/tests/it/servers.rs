//! Where the servers are: watched, polled, looked up by name.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use varve_api::error::{ApiError, Reason};
use varve_client::{Client, Lookup, ProducerRecord};

use crate::fake::{FakeCluster, TOPIC};
use crate::{connect, impatient, until, within};

async fn append(client: &Client) {
    let producer = client.producer(TOPIC).build().await.expect("the topic is there");
    producer.send(ProducerRecord::new("x")).await.expect("it is taken").await.expect("it is delivered");
    producer.close().await.expect("nothing fails");
}

#[tokio::test]
async fn servers_are_watched_for_as_long_as_there_is_a_client() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        until(|| cluster.watchers() == 1).await;
        let clone = client.clone();
        drop(client);
        append(&clone).await;
        assert_eq!(cluster.watchers(), 1);
        drop(clone);
        until(|| cluster.watchers() == 0).await;
    })
    .await;
}

#[tokio::test]
async fn another_server_is_watched_when_one_dies() {
    within(async {
        let mut cluster = FakeCluster::start(3, 1).await;
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        until(|| cluster.watchers() == 1).await;
        cluster.kill(0).await;
        cluster.lead(0, Some(1));
        until(|| cluster.watchers() == 1).await;
        append(&client).await;
        assert_eq!(cluster.values(0), ["x"]);
    })
    .await;
}

#[tokio::test]
async fn another_server_is_watched_when_one_stands_still() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        cluster.state().falls_silent = true;
        let client = connect(&cluster).await;
        until(|| cluster.state().calls.get("watch_servers") == Some(&1)).await;
        cluster.state().falls_silent = false;
        until(|| cluster.watchers() == 1).await;
        append(&client).await;
    })
    .await;
}

#[tokio::test]
async fn the_one_that_is_left_is_not_where_the_one_was_that_told_of_it() {
    within(async {
        let mut cluster = FakeCluster::start(2, 1).await;
        let client = impatient().connect(&format!("varve://{}", cluster.addrs[1])).await.expect("it is up");
        append(&client).await;
        // The last thing that the other one says is that it is no more a part of it.
        cluster.forget_last();
        let known = async || client.servers().await.expect("one answers").servers.len();
        while known().await > 1 {}
        // It may say so more than once.
        assert_eq!(known().await, 1);
        cluster.kill(1).await;
        append(&client).await;
        assert_eq!(cluster.values(0).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_elsewhere_is_found_there() {
    within(async {
        let mut cluster = FakeCluster::start(3, 1).await;
        cluster.lead(0, Some(2));
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        append(&client).await;
        for _ in 0..2 {
            cluster.kill(2).await;
            cluster.restart_elsewhere(2);
            append(&client).await;
        }
        assert_eq!(cluster.values(0).len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_elsewhere_is_found_by_a_producer_that_is_open() {
    within(async {
        let mut cluster = FakeCluster::start(3, 1).await;
        cluster.lead(0, Some(2));
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        let producer = client.producer(TOPIC).build().await.expect("the topic is there");
        producer.send(ProducerRecord::new("1")).await.expect("it is taken").await.expect("it is delivered");
        cluster.kill(2).await;
        let second = producer.send(ProducerRecord::new("2")).await.expect("it is taken");
        cluster.restart_elsewhere(2);
        second.await.expect("it is delivered");
        assert_eq!(cluster.values(0), ["1", "2"]);
    })
    .await;
}

#[tokio::test]
async fn servers_that_cannot_be_watched_are_asked_for() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        cluster.state().unwatchable = true;
        let client = Client::builder().servers_interval(Duration::from_millis(20));
        let client = client.connect(&cluster.address()).await.expect("it is up");
        until(|| cluster.state().calls["get_servers"] > 4).await;
        // As soon as they can, they are.
        cluster.state().unwatchable = false;
        until(|| cluster.watchers() == 1).await;
        append(&client).await;
    })
    .await;
}

/// A name that stands for one list of addresses after the other, and for the last for ever.
#[derive(Debug)]
struct Names {
    addrs: Mutex<Vec<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(addrs: Vec<Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self { addrs: Mutex::new(addrs), asked: AtomicUsize::new(0) })
    }
}

impl Lookup for Names {
    fn lookup(&self, host_port: String) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        assert_eq!(host_port, "cluster.example:8400");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut addrs = self.addrs.lock().expect("no test panics with it");
        let found = if addrs.len() > 1 { addrs.remove(0) } else { addrs[0].clone() };
        Box::pin(async move { if found.is_empty() { Err(io::Error::other("told to")) } else { Ok(found) } })
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    within(async {
        let mut cluster = FakeCluster::start(3, 1).await;
        cluster.kill(0).await;
        cluster.lead(0, Some(1));
        let names = Names::new(vec![cluster.addrs[..2].to_vec()]);
        let client = impatient().lookup(names.clone()).connect("varve://cluster.example").await;
        append(&client.expect("one of them is up")).await;
        assert_eq!(names.asked.load(Ordering::Relaxed), 1);
    })
    .await;
}

#[tokio::test]
async fn a_name_is_looked_up_anew_when_all_its_addresses_fail() {
    within(async {
        let mut cluster = FakeCluster::start(2, 1).await;
        cluster.kill(0).await;
        cluster.lead(0, Some(1));
        let (dead, alive) = (vec![cluster.addrs[0]], vec![cluster.addrs[1]]);
        let names = Names::new(vec![dead.clone(), dead, alive]);
        let client = impatient().lookup(names.clone()).connect("varve://cluster.example").await;
        append(&client.expect("it is up in the end")).await;
        assert_eq!(names.asked.load(Ordering::Relaxed), 3);
    })
    .await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told() {
    within(async {
        let client = impatient().lookup(Names::new(vec![vec![]])).connect("varve://cluster.example").await;
        let error = client.map(drop).expect_err("nobody knows it");
        assert_eq!(error.reason(), Some(Reason::Unreachable), "{error}");
        assert!(error.to_string().contains("cluster.example"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_names_of_this_machine_are_known() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let address = format!("varve://localhost:{}", cluster.addrs[0].port());
        append(&impatient().connect(&address).await.expect("it is up")).await;
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_a_server_does_not_know_yet_is_waited_for() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let unknown = |reason| crate::faults::ProduceFault::Refuse(ApiError::new(reason, "told to"));
        cluster.state().produce_faults =
            vec![unknown(Reason::TopicNotFound), unknown(Reason::PartitionNotFound)].into();
        append(&connect(&cluster).await).await;
        assert_eq!(cluster.values(0), ["x"]);
    })
    .await;
}

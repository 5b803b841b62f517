//! A producer and a consumer, while servers die, come back, lag, and lead in turn: everything once, in order.

use std::time::Duration;

use varve_client::record::Offset;
use varve_client::{Client, Consumer, Delivery, ProducerRecord};
use varve_env::{Entropy, SeededEntropy};

use crate::fake::{FakeCluster, TOPIC};
use crate::{impatient, within};

const SERVERS: u64 = 3;
const TURNS: usize = 12;
const RECORDS_PER_TURN: usize = 25;
/// How long a turn may last.
const TURN_MAX: Duration = Duration::from_millis(50);

#[tokio::test]
async fn any_sequence_of_moves() {
    const SEEDS: u64 = 8;
    let run = |seed| (seed, tokio::spawn(within(survive(SeededEntropy::new(seed)))));
    let runs: Vec<_> = (0..SEEDS).map(run).collect();
    for (seed, run) in runs {
        run.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

async fn survive(entropy: SeededEntropy) {
    let mut cluster = FakeCluster::start(SERVERS as usize, 1).await;
    let client = connect_to_all(&cluster).await;
    let producer = client.producer(TOPIC).batch_bytes(150).build().await.expect("the topic is there");
    let records = TURNS * RECORDS_PER_TURN;
    let end = Offset::new(records as u64);
    let consumer = client.consumer(TOPIC).until_offset(end).heartbeat_interval(Duration::from_millis(100));
    let reading = tokio::spawn(read(consumer.build().await.expect("it is there")));

    let mut deliveries: Vec<Delivery> = Vec::new();
    let mut dead = None;
    for _ in 0..TURNS {
        for _ in 0..RECORDS_PER_TURN {
            let record = ProducerRecord::new(deliveries.len().to_string());
            deliveries.push(producer.send(record).await.expect("it is taken"));
        }
        dead = turn(&mut cluster, &entropy, dead).await;
        // Lets some of it through, if any can pass.
        let appended = cluster.state().partitions[0].next_offset();
        let some = cluster.appended(0, appended + entropy.below(RECORDS_PER_TURN as u64));
        drop(tokio::time::timeout(TURN_MAX, some).await);
    }
    recover(&mut cluster, dead);
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let delivered = delivery.await.expect("it is delivered");
        assert_eq!(delivered.offset, Some(Offset::new(number as u64)));
    }
    let numbers: Vec<_> = (0..records).map(|number| number.to_string()).collect();
    assert_eq!(cluster.values(0), numbers);
    assert_eq!(reading.await.expect("it runs"), numbers);
}

async fn connect_to_all(cluster: &FakeCluster) -> Client {
    let addrs: Vec<_> = cluster.addrs.iter().map(ToString::to_string).collect();
    impatient().connect(&format!("varve://{}", addrs.join(","))).await.expect("it is up")
}

async fn read(mut consumer: Consumer) -> Vec<String> {
    let mut values = Vec::new();
    while let Some(record) = consumer.next().await.expect("nothing fails for good") {
        assert_eq!(record.offset, Offset::new(values.len() as u64));
        let value = record.value.expect("it was produced with one");
        values.push(String::from_utf8_lossy(&value).into_owned());
    }
    values
}

/// Does something to the cluster; tells which server is dead then.
async fn turn(cluster: &mut FakeCluster, entropy: &SeededEntropy, dead: Option<usize>) -> Option<usize> {
    let server = entropy.below(SERVERS) as usize;
    let is_alive = dead != Some(server);
    match entropy.below(8) {
        0..2 if is_alive => cluster.lead(0, Some(server)),
        2 => cluster.lead(0, None),
        3 | 4 if dead.is_none() => {
            cluster.kill(server).await;
            return Some(server);
        }
        3 | 4 => {
            let server = dead.expect("it is some");
            if entropy.below(2) == 0 {
                cluster.restart(server)
            } else {
                cluster.restart_elsewhere(server)
            }
            return None;
        }
        5 => {
            let known = cluster.state().partitions[0].next_offset();
            cluster.know_until(server, Some(known / 2));
        }
        6 => cluster.know_until(server, None),
        7 => {
            cluster.tell(server, |member| member.alive = !member.alive);
        }
        _ => {}
    }
    dead
}

fn recover(cluster: &mut FakeCluster, dead: Option<usize>) {
    if let Some(dead) = dead {
        cluster.restart(dead);
    }
    for server in 0..SERVERS as usize {
        cluster.know_until(server, None);
    }
    cluster.lead(0, Some(1));
}

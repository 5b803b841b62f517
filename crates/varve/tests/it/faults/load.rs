use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use varve_check::{Outcome, Request};
use varve_client::api::v1::ReadConsistency;
use varve_client::record::{Limits, Offset};
use varve_client::{
    Client, ConsumedBatch, Delivery, PartitionServer, PartitionServers, Picker, ProducerRecord,
};

use super::fleet::Fleet;
use super::recorder::Recorder;
use crate::support::DEADLINE;

/// Idempotent producers that append at the same time.
const PRODUCERS: u64 = 3;
/// Records that each of them has under way.
const WINDOW: usize = 16;
/// Records of the load that can be under way at a time.
pub(super) const UNDER_WAY_MAX: u64 = PRODUCERS * WINDOW as u64;
/// Sessions of readers, by what they read.
const FOLLOWER: u64 = 0;
const TAIL: u64 = 1;
/// The first session that is free for a test's own.
pub(super) const FREE_SESSION: u64 = 2;

/// Clients that go on while servers fail: producers, one who follows from the beginning, and one who asks again and again for
/// the end of the log as it is. All that they see is recorded.
pub(super) struct Load {
    topic: String,
    client: Client,
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
    producers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    /// The offset up to which the follower has seen everything.
    followed: watch::Receiver<u64>,
    /// The last, since it takes everything down.
    runtime: Runtime,
}

/// Says how many times as long as else a load is to go on between one fault and the next, for whoever wants a longer run.
const LONGER: &str = "VARVE_FAULTS_TIMES";

fn times_as_long() -> u32 {
    std::env::var(LONGER).map_or(1, |times| times.parse().expect("VARVE_FAULTS_TIMES is a number"))
}

/// What came of a load.
pub(super) struct Total {
    pub(super) acknowledged: u64,
    /// The follower's records.
    pub(super) followed: u64,
    /// The values of the log.
    pub(super) log: Vec<u64>,
}

impl Load {
    /// Begins, on partition 0 of a topic.
    pub(super) fn start(fleet: &Fleet, topic: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let builder = Client::builder().call_timeout(DEADLINE);
        let client = runtime.block_on(builder.connect(&fleet.address())).unwrap();
        let recorder = Arc::new(Recorder::new());
        let stop = watch::Sender::new(false);
        let producers = (0..PRODUCERS).map(|number| {
            runtime.spawn(produce(client.clone(), topic.into(), number, recorder.clone(), stop.subscribe()))
        });
        let producers = producers.collect();
        let (seen, followed) = watch::channel(0);
        let readers = vec![
            runtime.spawn(follow(client.clone(), topic.into(), recorder.clone(), seen)),
            runtime.spawn(ask_for_tail(client.clone(), topic.into(), recorder.clone())),
        ];
        Self { topic: topic.into(), client, recorder, stop, producers, readers, followed, runtime }
    }

    pub(super) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// How many appends are acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        *self.recorder.acknowledged().borrow()
    }

    /// Waits until so many more appends are acknowledged, or as many times as many as [`LONGER`] says.
    pub(super) fn go_on_for(&self, appends: u64) {
        let times = times_as_long();
        let appends = appends * u64::from(times);
        let mut acknowledged = self.recorder.acknowledged();
        let wanted = *acknowledged.borrow() + appends;
        let come = self.runtime.block_on(async {
            timeout(DEADLINE * times, acknowledged.wait_for(|now| *now >= wanted)).await.is_ok()
        });
        let errors = self.recorder.errors();
        assert!(
            come,
            "only {} of {wanted} appends are acknowledged; errors: {errors:#?}",
            *acknowledged.borrow()
        );
    }

    /// Ends the load, and judges all that its clients saw against the log, which must be the same on all of these nodes.
    pub(super) fn finish(mut self, fleet: &Fleet, replicas: &[String]) -> Total {
        self.stop.send_replace(true);
        let producers = std::mem::take(&mut self.producers);
        self.wait("the producers end", async {
            for producer in producers {
                producer.await.unwrap();
            }
        });
        let tail = self.client.get_tail(&self.topic, 0, ReadConsistency::Linearizable);
        let tail = self.wait("the end of the log is told", tail).unwrap().high_watermark;
        let mut followed = self.followed.clone();
        let caught_up =
            self.wait("the follower has seen everything", followed.wait_for(|seen| *seen >= tail)).is_ok();
        assert!(caught_up, "the follower has ended: {:#?}", self.recorder.errors());
        self.readers.iter().for_each(JoinHandle::abort);
        let copies: Vec<Vec<u64>> = replicas
            .iter()
            .map(|name| self.wait(name, copy_on(&self.client, &self.topic, fleet.rpc_addr(name), tail)))
            .collect();
        assert!(copies.windows(2).all(|pair| pair[0] == pair[1]), "the replicas differ");
        let log = copies.into_iter().next().unwrap();
        self.recorder.judge(&log);
        assert_eq!(self.recorder.errors(), [""; 0], "clients saw errors");
        Total { acknowledged: *self.recorder.acknowledged().borrow(), followed: tail, log }
    }

    fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let come = self.runtime.block_on(async { timeout(DEADLINE, future).await });
        come.unwrap_or_else(|_| {
            panic!("it does not come about: {what}; errors: {:#?}", self.recorder.errors())
        })
    }
}

/// Appends until it is to stop, and then waits for what is under way.
async fn produce(
    client: Client,
    topic: String,
    number: u64,
    recorder: Arc<Recorder>,
    stop: watch::Receiver<bool>,
) {
    let producer = client.producer(&topic).build().await.unwrap();
    let mut under_way = VecDeque::new();
    let mut values = (number << 32)..;
    while !*stop.borrow() {
        let value = values.next().unwrap();
        let op = recorder.begin(Request::Append { value });
        match producer.send(ProducerRecord::new(text_of(value)).partition(0)).await {
            Ok(delivery) => under_way.push_back((op, delivery)),
            Err(error) => return recorder.error(op, error),
        }
        if under_way.len() == WINDOW {
            settle(under_way.pop_front(), &recorder).await;
        }
    }
    while !under_way.is_empty() {
        settle(under_way.pop_front(), &recorder).await;
    }
}

async fn settle(oldest: Option<(u64, Delivery)>, recorder: &Recorder) {
    let (op, delivery) = oldest.unwrap();
    match delivery.await {
        Ok(delivered) => recorder.end(op, Outcome::Appended { offset: delivered.offset.unwrap().get() }),
        Err(error) => recorder.error(op, error),
    }
}

/// Reads everything from the beginning, on and on.
async fn follow(client: Client, topic: String, recorder: Arc<Recorder>, seen: watch::Sender<u64>) {
    let mut consumer = client.consumer(&topic).retry_timeout(DEADLINE).build().await.unwrap();
    loop {
        let op = recorder.begin(Request::Read { session: FOLLOWER, linearizable: false });
        let batch = match consumer.next_batch().await {
            Ok(batch) => batch.unwrap(),
            Err(error) => return recorder.error(op, error),
        };
        let (first, values) = values_of(&batch);
        assert!(*seen.borrow() > 0 || first == 0, "it begins at {first}");
        let end = first + values.len() as u64;
        recorder.end(op, Outcome::Read { first_offset: first, values, high_watermark: end });
        seen.send_replace(end);
    }
}

/// Asks for the end of the log, as it is, whenever it has moved.
async fn ask_for_tail(client: Client, topic: String, recorder: Arc<Recorder>) {
    let mut acknowledged = recorder.acknowledged();
    while acknowledged.changed().await.is_ok() {
        let op = recorder.begin(Request::Read { session: TAIL, linearizable: true });
        match client.get_tail(&topic, 0, ReadConsistency::Linearizable).await {
            Ok(tail) => recorder.end(op, tail_read(tail.high_watermark)),
            Err(error) => recorder.error(op, error),
        }
    }
}

/// A read that saw where the log ends, and no records.
pub(super) fn tail_read(high_watermark: u64) -> Outcome {
    Outcome::Read { first_offset: 0, values: Vec::new(), high_watermark }
}

/// A node's own copy of the log up to an offset, once it has it.
async fn copy_on(client: &Client, topic: &str, addr: String, end: u64) -> Vec<u64> {
    let mut values = Vec::new();
    let consumer =
        client.consumer(topic).until_offset(Offset::new(end)).read_picker(Arc::new(PickOnly(addr)));
    let mut consumer = consumer.retry_timeout(DEADLINE).build().await.unwrap();
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        let (first, more) = values_of(&batch);
        assert_eq!(first, values.len() as u64);
        values.extend(more);
    }
    assert_eq!(values.len() as u64, end);
    values
}

fn values_of(batch: &ConsumedBatch) -> (u64, Vec<u64>) {
    let mut values = Vec::new();
    batch.for_each(&Limits::default(), |record| values.push(value_of(record.value.unwrap()))).unwrap();
    (batch.wanted.start.get(), values)
}

/// Texts of many lengths, so that batches and frames do not all look alike.
pub(super) fn text_of(value: u64) -> String {
    format!("{value} {}", "x".repeat((value % 211) as usize))
}

fn value_of(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap();
    let value = text.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(text, text_of(value), "the record is not as it was sent");
    value
}

/// Picks this server, or none.
#[derive(Debug)]
struct PickOnly(String);

impl Picker for PickOnly {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer> {
        servers.leader.iter().chain(&servers.followers).find(|server| *server.addr == *self.0)
    }
}

//! Readers that follow a partition from its beginning, on whichever replica has it.

use super::Load;
use crate::cluster::journal::Place;
use crate::cluster::site::chain;
use crate::cluster::text::value_of;
use std::sync::Arc;
use std::time::Duration;
use varve_check::{Outcome, Request};
use varve_client::record::{Limits, Offset};
use varve_client::{
    Client, ClientError, ConsumedBatch, Consumer, PartitionServer, PartitionServers, Picker, ReadFrom,
};

/// Longer than any trouble, so that a reader that gives up is a finding.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often a reader looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(load: Load, client: Client, place: Place) {
    let session = load.journal.session();
    let mut next = 0;
    while !is_done(&load, place, next) {
        match open(&client, place, ReadFrom::Offset(Offset::new(next))).await {
            Ok(consumer) => follow(&load, consumer, place, session, &mut next).await,
            Err(error) => load.journal.complain(format!("no reader of {place:?}: {}", chain(&error))),
        }
    }
    load.journal.note(&format!("a reader of {place:?} has read {next} records"));
}

fn is_done(load: &Load, place: Place, next: u64) -> bool {
    load.end_of(place).is_some_and(|end| next >= end)
}

async fn open(client: &Client, place: Place, from: ReadFrom) -> Result<Consumer, ClientError> {
    let consumer = client.consumer(place.topic).partitions([place.partition]).from(from);
    consumer.retry_timeout(RETRY_TIMEOUT).heartbeat_interval(HEARTBEAT).build().await
}

/// Reads until told to end, or the consumer gives up.
async fn follow(load: &Load, mut consumer: Consumer, place: Place, session: u64, next: &mut u64) {
    loop {
        let op = load.journal.begin(place, Request::Read { session, linearizable: false });
        let batch = loop {
            match tokio::time::timeout(LOOK, consumer.next_batch()).await {
                Ok(batch) => break batch,
                Err(_) if is_done(load, place, *next) => return load.journal.end(op, Outcome::Failed),
                Err(_) => {}
            }
        };
        match batch {
            Ok(Some(batch)) => {
                let (first_offset, values) = values_of(&batch);
                *next = first_offset + values.len() as u64;
                load.journal.end(op, Outcome::Read { first_offset, values, high_watermark: *next });
            }
            Ok(None) => {
                load.journal.end(op, Outcome::Failed);
                return load.journal.complain(format!("a reader of {place:?} was told that it is done"));
            }
            Err(error) => {
                load.journal.end(op, Outcome::Failed);
                return load.journal.complain(format!("a reader of {place:?} gave up: {}", chain(&error)));
            }
        }
    }
}

fn values_of(batch: &ConsumedBatch) -> (u64, Vec<u64>) {
    let mut values = Vec::new();
    let read = batch.for_each(&Limits::default(), |record| {
        values.push(value_of(record.value.unwrap_or_default()));
    });
    if read.is_err() {
        // No value is this one, so that the check names it.
        values.push(u64::MAX);
    }
    (batch.wanted.start.get(), values)
}

/// One replica's own copy of a partition: its values, and its batches byte for byte with their append times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Copy {
    pub(in crate::cluster) values: Vec<u64>,
    batches: Vec<(i64, Vec<u8>)>,
}

/// Reads the copy of the server at an address up to an offset, once it has it.
pub(in crate::cluster) async fn copy_of(
    client: &Client,
    place: Place,
    addr: String,
    end: u64,
) -> Result<Copy, ClientError> {
    let mut copy = Copy::default();
    if end == 0 {
        return Ok(copy);
    }
    let consumer = client.consumer(place.topic).partitions([place.partition]).until_offset(Offset::new(end));
    let consumer = consumer.read_picker(Arc::new(PickOnly(addr))).retry_timeout(RETRY_TIMEOUT);
    let mut consumer = consumer.heartbeat_interval(HEARTBEAT).build().await?;
    while let Some(batch) = consumer.next_batch().await? {
        copy.values.extend(values_of(&batch).1);
        copy.batches.push((batch.append_time.get(), batch.batch.as_bytes().to_vec()));
    }
    Ok(copy)
}

/// Picks this server, or none.
#[derive(Debug)]
struct PickOnly(String);

impl Picker for PickOnly {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer> {
        servers.leader.iter().chain(&servers.followers).find(|server| *server.addr == *self.0)
    }
}

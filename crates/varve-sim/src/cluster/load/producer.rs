//! Idempotent producers: pipelined, each record once, in order.

use super::{Load, pause};
use crate::cluster::journal::{Journal, Op, Place};
use crate::cluster::site::chain;
use crate::cluster::text::text_of;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use varve_check::{Outcome, Request};
use varve_client::api::error::Reason;
use varve_client::{Client, ClientError, Delivery, Producer, ProducerRecord};
use varve_env::{Entropy, SeededEntropy};

/// Records that a producer has under way.
const WINDOW: usize = 24;
/// The longest pause between two records, in milliseconds.
const PAUSE_MS_MAX: u64 = 60;
/// How many records follow one another without a pause at most.
const BURST_MAX: u64 = 12;
/// Longer than any trouble, so that what is given up is a finding.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
const ACK_TIMEOUT: Duration = Duration::from_secs(4);
/// Records that are appended when all is well again.
const PROBES: u64 = 20;
/// What no client is told who may do what it asks for, whatever trouble there is.
const ALARMING: [Reason; 7] = [
    Reason::Internal,
    Reason::DataLoss,
    Reason::Unimplemented,
    Reason::InvalidBatch,
    Reason::PermissionDenied,
    Reason::Unauthenticated,
    Reason::TlsFailed,
];

/// A producer of one partition, and what it waits for.
struct Session {
    place: Place,
    journal: Journal,
    producer: Producer,
    under_way: VecDeque<(Op, Delivery)>,
    /// The offset of the record that was acknowledged last: those of later ones are greater.
    last: Option<u64>,
}

pub(super) async fn run(load: Load, client: Client, place: Place, entropy: Rc<SeededEntropy>) {
    let Some(mut session) = Session::open(&load.journal, &client, place, &*entropy).await else { return };
    while !load.is_over() {
        for _ in 0..1 + entropy.below(BURST_MAX) {
            session.send().await;
        }
        pause(&*entropy, PAUSE_MS_MAX).await;
    }
    session.finish().await;
}

/// Appends a few records, which must come through.
pub(in crate::cluster) async fn probe(load: &Load, client: &Client, place: Place) {
    let entropy = SeededEntropy::new(0);
    let Some(mut session) = Session::open(&load.journal, client, place, &entropy).await else { return };
    for _ in 0..PROBES {
        session.send().await;
    }
    session.finish().await;
}

impl Session {
    async fn open(journal: &Journal, client: &Client, place: Place, entropy: &dyn Entropy) -> Option<Self> {
        let builder = client
            .producer(place.topic)
            .delivery_timeout(DELIVERY_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .linger(Duration::from_millis(entropy.below(20)))
            .batch_bytes(512 << entropy.below(5));
        match builder.build().await {
            Ok(producer) => {
                let (journal, under_way) = (journal.clone(), VecDeque::new());
                Some(Self { place, journal, producer, under_way, last: None })
            }
            Err(error) => {
                journal.complain(format!("no producer for {place:?}: {}", chain(&error)));
                None
            }
        }
    }

    async fn send(&mut self) {
        if self.under_way.len() >= WINDOW {
            self.settle().await;
        }
        let value = self.journal.value();
        let op = self.journal.begin(self.place, Request::Append { value });
        let record = ProducerRecord::new(text_of(value)).partition(self.place.partition);
        match self.producer.send(record).await {
            Ok(delivery) => self.under_way.push_back((op, delivery)),
            Err(error) => {
                self.journal.end(op, Outcome::Failed);
                self.journal.complain(format!("a record was not taken: {}", chain(&error)));
            }
        }
    }

    async fn settle(&mut self) {
        let Some((op, delivery)) = self.under_way.pop_front() else { return };
        match delivery.await {
            Ok(delivered) => {
                let offset = delivered.offset.map_or(u64::MAX, |offset| offset.get());
                self.journal.end(op, Outcome::Appended { offset });
                if self.last.is_some_and(|last| last >= offset) {
                    self.journal.complain(format!(
                        "a producer's later record has offset {offset}, not after {:?}",
                        self.last
                    ));
                }
                self.last = Some(offset);
            }
            Err(error) => {
                self.journal.end(op, outcome_of(&error));
                self.journal.complain(format!("a record was given up: {}", chain(&error)));
            }
        }
    }

    async fn finish(mut self) {
        while !self.under_way.is_empty() {
            self.settle().await;
        }
        if let Err(error) = self.producer.close().await {
            self.journal.complain(format!("a producer did not close: {}", chain(&error)));
        }
    }
}

/// What an append that failed may have done.
pub(super) fn outcome_of(error: &ClientError) -> Outcome {
    if error.may_have_happened() { Outcome::Unknown } else { Outcome::Failed }
}

/// Whether an error says that something is broken, rather than away or in the way.
pub(super) fn is_alarming(error: &ClientError) -> bool {
    match error.reason() {
        Some(reason) => ALARMING.contains(&reason),
        None => true,
    }
}

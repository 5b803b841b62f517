//! Appends under a condition: at the end of the log as it was seen, or not at all.

use super::producer::{is_alarming, outcome_of};
use super::{Load, pause};
use crate::cluster::journal::Place;
use crate::cluster::site::chain;
use crate::cluster::text::text_of;
use std::rc::Rc;
use varve_check::{Outcome, Request};
use varve_client::Client;
use varve_client::api::v1::{ProduceRecord, ProduceRequest, ReadConsistency};
use varve_env::SeededEntropy;

/// The longest pause between two appends, in milliseconds.
const PAUSE_MS_MAX: u64 = 300;

pub(super) async fn run(load: Load, client: Client, place: Place, entropy: Rc<SeededEntropy>) {
    while !load.is_over() {
        pause(&*entropy, PAUSE_MS_MAX).await;
        // A stale end will do too: then the append is refused.
        let fresh = ReadConsistency::Committed;
        if let Ok(tail) = client.get_tail(place.topic, place.partition, fresh).await {
            append(&load, &client, place, tail.high_watermark).await;
        }
    }
}

async fn append(load: &Load, client: &Client, place: Place, expected: u64) {
    let journal = &load.journal;
    let value = journal.value();
    let record = ProduceRecord { value: Some(text_of(value).into()), ..Default::default() };
    let request = ProduceRequest {
        topic: place.topic.to_owned(),
        partition: Some(place.partition),
        records: vec![record],
        expected_offset: Some(expected),
        ..Default::default()
    };
    let op = journal.begin(place, Request::Append { value });
    match client.produce(request).await {
        Ok(appended) => {
            let offset = appended.first_offset.unwrap_or(u64::MAX);
            journal.end(op, Outcome::Appended { offset });
            if offset != expected {
                journal.complain(format!("an append expected at {expected} is at {offset}"));
            }
        }
        Err(error) => {
            journal.end(op, outcome_of(&error));
            if is_alarming(&error) {
                journal.complain(format!("an append under a condition failed: {}", chain(&error)));
            }
        }
    }
}

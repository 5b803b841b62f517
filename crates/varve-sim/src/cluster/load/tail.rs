//! Linearizable reads: where the log ends, and what lies before that.

use super::producer::is_alarming;
use super::{Load, pause};
use crate::cluster::journal::Place;
use crate::cluster::site::chain;
use crate::cluster::text::value_of;
use std::rc::Rc;
use varve_check::{Outcome, Request};
use varve_client::api::v1;
use varve_client::api::v1::ReadConsistency;
use varve_client::{Client, ClientError};
use varve_env::{Entropy, SeededEntropy};

/// The longest pause between two reads, in milliseconds.
const PAUSE_MS_MAX: u64 = 250;

pub(super) async fn run(load: Load, client: Client, place: Place, entropy: Rc<SeededEntropy>) {
    let session = load.journal.session();
    let mut next = 0;
    while load.end_of(place).is_none() {
        pause(&*entropy, PAUSE_MS_MAX).await;
        let op = load.journal.begin(place, Request::Read { session, linearizable: true });
        let read = if entropy.below(2) == 0 {
            ask_for_tail(&client, place).await
        } else {
            read(&client, place, &mut next).await
        };
        match read {
            Ok(outcome) => load.journal.end(op, outcome),
            Err(error) => {
                load.journal.end(op, Outcome::Failed);
                if is_alarming(&error) {
                    load.journal.complain(format!("a linearizable read failed: {}", chain(&error)));
                }
            }
        }
    }
}

async fn ask_for_tail(client: &Client, place: Place) -> Result<Outcome, ClientError> {
    let tail = client.get_tail(place.topic, place.partition, ReadConsistency::Linearizable).await?;
    Ok(Outcome::Read { first_offset: 0, values: Vec::new(), high_watermark: tail.high_watermark })
}

async fn read(client: &Client, place: Place, next: &mut u64) -> Result<Outcome, ClientError> {
    let start = Some(v1::read_from::Start::Offset(*next));
    let request = v1::ConsumeRequest {
        topic: place.topic.to_owned(),
        partition: place.partition,
        from: Some(v1::ReadFrom { start, clamp: false }),
        bounds: Some(v1::ReadBounds { max_records: Some(50), ..Default::default() }),
        consistency: ReadConsistency::Linearizable.into(),
        ..Default::default()
    };
    let piece = client.consume(request).await?;
    let values = piece.records.iter().map(|record| value_of(record.value.as_deref().unwrap_or_default()));
    let values: Vec<u64> = values.collect();
    let first_offset = piece.records.first().map_or(*next, |record| record.offset);
    *next = first_offset + values.len() as u64;
    Ok(Outcome::Read { first_offset, values, high_watermark: piece.high_watermark })
}

//! Somebody who moves leadership about, as one does before maintenance.

use super::producer::is_alarming;
use super::{Load, pause};
use crate::cluster::journal::Place;
use crate::cluster::site::chain;
use varve_client::{Client, ClientError};
use varve_env::{Entropy, SeededEntropy};

/// The longest pause between two moves, in milliseconds.
const PAUSE_MS_MAX: u64 = 4_000;

pub(super) async fn run(load: Load, client: Client, entropy: SeededEntropy) {
    let places: Vec<Place> = load.plan.places().collect();
    while !load.is_over() {
        pause(&entropy, PAUSE_MS_MAX).await;
        // One of the partitions, or the controller.
        let at = usize::try_from(entropy.below(places.len() as u64 + 1)).unwrap_or(0);
        let moved = hand_on(&client, places.get(at).copied()).await;
        load.journal.note(&format!("leadership of {:?} was moved: {}", places.get(at), moved.is_ok()));
        if let Some(error) = moved.err().filter(is_alarming) {
            load.journal.complain(format!("leadership was not moved: {}", chain(&error)));
        }
    }
}

async fn hand_on(client: &Client, place: Option<Place>) -> Result<(), ClientError> {
    match place {
        Some(Place { topic, partition }) => client.transfer_leadership(topic, partition, None).await,
        None => client.transfer_controller(None).await,
    }
    .map(drop)
}

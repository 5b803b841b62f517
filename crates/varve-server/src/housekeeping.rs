//! What time asks for.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use varve_storage::Storage;

use crate::TICK_INTERVAL;
use crate::topics::Topics;

/// Gives storage its ticks, and looks after retention. Ends with the node. A trim that waits for the disk does not keep
/// storage waiting.
pub(crate) async fn run(storage: Storage, topics: Topics, retention_interval: Duration) {
    tokio::join!(tick(storage), look_after_retention(topics, retention_interval));
}

async fn tick(storage: Storage) {
    let mut ticks = interval(TICK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        storage.tick();
    }
}

async fn look_after_retention(topics: Topics, every: Duration) {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        topics.reopen_failed().await;
        retain(&topics).await;
    }
}

async fn retain(topics: &Topics) {
    for topic in topics.all().values() {
        for (number, partition) in topic.open_partitions() {
            if partition.status().damage.is_some() {
                continue;
            }
            match partition.apply_retention().await {
                Ok(None) => {}
                Ok(Some(log_start_offset)) => {
                    tracing::info!(topic = %topic.name, partition = number, %log_start_offset, "retention trimmed a partition");
                }
                Err(error) => {
                    tracing::warn!(topic = %topic.name, partition = number, %error, "retention could not trim a partition");
                }
            }
        }
    }
}

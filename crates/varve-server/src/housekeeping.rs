//! What time asks for.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use varve_record::NodeId;
use varve_storage::Storage;

use crate::TICK_INTERVAL;
use crate::topics::Topics;

/// Gives storage its ticks, and looks after retention. Ends with the node. A trim that waits for the disk does not keep
/// storage waiting.
pub(crate) async fn run(storage: Storage, topics: Topics, node: NodeId, retention_interval: Duration) {
    tokio::join!(tick(storage), look_after_retention(topics, node, retention_interval));
}

async fn tick(storage: Storage) {
    let mut ticks = interval(TICK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        storage.tick();
    }
}

async fn look_after_retention(topics: Topics, node: NodeId, every: Duration) {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        retain(&topics, node).await;
    }
}

async fn retain(topics: &Topics, node: NodeId) {
    for topic in topics.all().values() {
        for (number, partition) in topic.open_partitions() {
            // A leader trims for all; who follows, or is damaged, does not.
            if partition.progress().leader != Some(node) || partition.status().damage.is_some() {
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

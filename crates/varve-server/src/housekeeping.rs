//! What time asks for.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use varve_env::Env;
use varve_record::Timestamp;
use varve_storage::Storage;

use crate::TICK_INTERVAL;
use crate::topics::Topics;

/// Gives storage the time, and looks after retention. Ends with the node.
pub(crate) async fn run(env: Env, storage: Storage, topics: Topics, retention_interval: Duration) {
    let mut ticks = interval(TICK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retained = Instant::now();
    loop {
        ticks.tick().await;
        storage.tick(Timestamp::new(env.clock.now_unix_ms()));
        if retained.elapsed() >= retention_interval {
            topics.reopen_failed().await;
            retain(&topics).await;
            retained = Instant::now();
        }
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

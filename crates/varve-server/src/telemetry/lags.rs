//! Followers of what is led here, and how far behind they are.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::interval;
use varve_env::Env;
use varve_record::{NodeId, Timestamp};

use crate::cluster::ClusterView;
use crate::topics::Topics;

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Followers that are told of one by one: those that lack most.
const TOLD_MAX: usize = 100;

/// A follower, and what it lacks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lag {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) follower: NodeId,
    pub(crate) entries: u64,
    pub(crate) seconds: f64,
}

/// What was seen last. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lags(Arc<Mutex<Vec<Lag>>>);

impl Lags {
    /// Looks now and then, for ever.
    pub(crate) async fn run(self, env: Env, view: ClusterView, topics: Topics) {
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let mut lags = look(&env, &view, &topics).await;
            // Longest first: one that lacks little may have lacked it for long.
            lags.sort_by_key(|lag| Reverse((lag.seconds.to_bits(), lag.entries)));
            lags.truncate(TOLD_MAX);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lags;
        }
    }

    pub(crate) fn last(&self) -> Vec<Lag> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn look(env: &Env, view: &ClusterView, topics: &Topics) -> Vec<Lag> {
    let (this, mut lags) = (view.this(), Vec::new());
    let now = Timestamp::new(env.clock.now_unix_ms());
    for topic in topics.all().values() {
        for (number, partition) in topic.open_partitions() {
            if partition.progress().leader != Some(this) {
                continue;
            }
            let laggards = partition.laggards().await.unwrap_or_default();
            for laggard in laggards.into_iter().filter(|laggard| laggard.has_answered) {
                let since = laggard.lacks_since.filter(|since| since.get() > 0 && laggard.offsets > 0);
                let lacks_ms = since.map_or(0, |since| now.get().saturating_sub(since.get()).max(0));
                lags.push(Lag {
                    topic: topic.name.to_string(),
                    partition: number,
                    follower: laggard.node,
                    entries: laggard.entries,
                    seconds: lacks_ms as f64 / 1000.0,
                });
            }
        }
    }
    lags
}

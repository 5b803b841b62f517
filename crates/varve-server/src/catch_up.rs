//! Replicas that were away, and what was committed meanwhile.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};
use varve_api::TopicName;
use varve_replica::{Consistency, Partition};

use crate::condition::Condition;
use crate::topics::{Slot, Topics};

/// Replicas that ask their leaders at the same time.
const ASKED_AT_ONCE: usize = 16;

/// How often it is looked whether a replica that waits still has something to wait for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The pause before a replica whose leader gave no answer asks again.
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a replica waits that has no leader: there is nobody to catch up with, and an election takes less.
const LEADERLESS_MAX: Duration = Duration::from_secs(10);

/// Follows replicas that were opened at a start until each has all that was committed by then, and has the node count as ready only
/// then: whoever takes nodes down one after the other waits for that, and a majority has everything all the while.
///
/// It says so before it is first polled.
pub(crate) fn catch_up(condition: Condition, topics: Topics) -> impl Future<Output = ()> + Send + 'static {
    let replicas: Vec<Replica> = topics
        .all()
        .values()
        .flat_map(|topic| {
            topic.open_partitions().map(|(number, _)| Replica { topic: topic.name.clone(), number })
        })
        .collect();
    condition.catching_up(replicas.len());
    async move {
        let mut left = replicas.len();
        let mut waiting = replicas.into_iter();
        let since = Instant::now();
        let mut asking: FuturesUnordered<_> = waiting
            .by_ref()
            .take(ASKED_AT_ONCE)
            .map(|replica| replica.until_current(topics.clone()))
            .collect();
        while asking.next().await.is_some() {
            left -= 1;
            condition.catching_up(left);
            asking.extend(waiting.next().map(|replica| replica.until_current(topics.clone())));
        }
        let took_ms = since.elapsed().as_millis() as u64;
        tracing::debug!(took_ms, "all replicas have what was committed before the start");
    }
}

/// A replica that lay here at the start.
struct Replica {
    topic: TopicName,
    number: u32,
}

impl Replica {
    /// Returns once it has what its leader had committed when it was asked, or has nobody to catch up with, or cannot, or lies here no
    /// more. One that is damaged or was not opened is another check's, as a full disk is.
    async fn until_current(self, topics: Topics) {
        let mut led = Instant::now();
        // One that has stopped is opened again, as another.
        while let Some(partition) = self.find(&topics) {
            let mut current = pin!(partition.barrier(Consistency::Linearizable));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut current => match answer {
                        Ok(_) => return,
                        Err(_) => break,
                    },
                    () = sleep(LOOK_INTERVAL) => {}
                }
                if !partition.takes_part() {
                    break;
                }
                if partition.damage().is_some()
                    || partition.status().disk_full
                    || is_leaderless(&partition, &mut led)
                {
                    return;
                }
            }
            sleep(TRY_PAUSE).await;
            if partition.damage().is_some() || is_leaderless(&partition, &mut led) {
                return;
            }
        }
    }

    fn find(&self, topics: &Topics) -> Option<Partition> {
        let topic = topics.known(self.topic.as_str())?;
        match topic.slots().nth(self.number as usize)?.2 {
            Slot::Open(partition) => Some(partition.clone()),
            Slot::Failed(_) | Slot::Elsewhere => None,
        }
    }
}

/// Whether a replica has had no leader for so long that none is waited for.
fn is_leaderless(partition: &Partition, led: &mut Instant) -> bool {
    if partition.progress().leader.is_some() {
        *led = Instant::now();
    }
    led.elapsed() >= LEADERLESS_MAX
}

//! Replicas that were away, and what was committed meanwhile.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};
use varve_replica::{Consistency, Partition, ReadError};

use crate::condition::Condition;
use crate::topics::Topics;

/// Replicas that ask their leaders at the same time.
const ASKED_AT_ONCE: usize = 16;

/// How long one may take to have what its leader had; then the leader is asked again.
const TRY_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause before a replica whose leader gave no answer asks again.
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// From when on a replica without a leader is waited for no longer: there is nobody to catch up with, and an election takes less.
const LEADERLESS_MAX: Duration = Duration::from_secs(10);

/// Follows replicas that were opened at a start until each has all that was committed by then, and has the node count as ready only
/// then: whoever takes nodes down one after the other waits for that, and a majority has everything all the while.
///
/// It says so before it is first polled.
pub(crate) fn catch_up(condition: Condition, topics: &Topics) -> impl Future<Output = ()> + Send + 'static {
    let all = topics.all();
    let replicas: Vec<Partition> = all
        .values()
        .flat_map(|topic| topic.open_partitions())
        .map(|(_, partition)| partition.clone())
        .collect();
    condition.catching_up(replicas.len());
    async move {
        let mut left = replicas.len();
        let mut waiting = replicas.into_iter();
        let since = Instant::now();
        let mut asking: FuturesUnordered<_> =
            waiting.by_ref().take(ASKED_AT_ONCE).map(|replica| until_current(replica, since)).collect();
        while asking.next().await.is_some() {
            left -= 1;
            condition.catching_up(left);
            asking.extend(waiting.next().map(|replica| until_current(replica, since)));
        }
        tracing::info!(
            took_ms = since.elapsed().as_millis() as u64,
            "all replicas have what was committed before the start"
        );
    }
}

/// Returns once a replica has what its leader has committed, or has nobody to catch up with, or is none any more.
async fn until_current(replica: Partition, since: Instant) {
    loop {
        if replica.damage().is_some() || !replica.takes_part() {
            return;
        }
        match timeout(TRY_TIMEOUT, replica.barrier(Consistency::Linearizable)).await {
            Ok(Ok(_)) | Ok(Err(ReadError::Damaged(_) | ReadError::Stopped(_))) => return,
            Ok(Err(_)) if replica.progress().leader.is_none() && since.elapsed() >= LEADERLESS_MAX => return,
            Ok(Err(_)) | Err(_) => sleep(TRY_PAUSE).await,
        }
    }
}

//! Replicas that lag, as the leaders here see them.

use std::time::Duration;

use varve_api::v1;
use varve_record::Timestamp;
use varve_replica::Laggard;

use super::Shared;

/// How long a replica may lack a committed record before it counts as lagging: what is under way for a moment does not.
const LAG_MAX: Duration = Duration::from_secs(5);

/// Most that are named.
const LISTED_MAX: usize = 100;

/// The replicas that lag behind the leaders here: how many, and the first of them. Of nodes that are not alive nothing is said:
/// that is the graver news.
pub(super) async fn of(shared: &Shared) -> (u32, Vec<v1::LaggingReplica>) {
    let (this, alive) = (shared.view.this(), shared.view.alive());
    let now = Timestamp::new(shared.env.clock.now_unix_ms());
    let (mut count, mut listed) = (0_u32, Vec::new());
    for topic in shared.topics.all().values() {
        for (number, partition) in topic.open_partitions() {
            if partition.progress().leader != Some(this) {
                continue;
            }
            let laggards = partition.laggards().await.unwrap_or_default();
            for laggard in laggards.iter().filter(|laggard| alive.contains(&laggard.node)) {
                let lag_ms = lag_ms(laggard, now);
                if !is_late(laggard, lag_ms) {
                    continue;
                }
                count = count.saturating_add(1);
                if listed.len() < LISTED_MAX {
                    listed.push(v1::LaggingReplica {
                        topic: topic.name.to_string(),
                        partition: number,
                        server: laggard.node.get(),
                        offsets: laggard.offsets,
                        lag_ms,
                    });
                }
            }
        }
    }
    (count, listed)
}

/// Entries that hold no records are no lag that anybody would feel.
fn is_late(laggard: &Laggard, lag_ms: Option<u64>) -> bool {
    laggard.offsets > 0 && lag_ms.is_none_or(|ms| u128::from(ms) >= LAG_MAX.as_millis())
}

fn lag_ms(laggard: &Laggard, now: Timestamp) -> Option<u64> {
    // An entry from before the first record has no time.
    let since = laggard.lacks_since.filter(|since| since.get() > 0)?;
    Some(u64::try_from(now.get().saturating_sub(since.get())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_record::NodeId;

    #[test]
    fn what_is_under_way_is_no_lag() {
        let of = |offsets, since: Option<i64>| {
            let lacks_since = since.map(Timestamp::new);
            let laggard =
                Laggard { node: NodeId::new(1), entries: offsets, offsets, lacks_since, has_answered: true };
            is_late(&laggard, lag_ms(&laggard, Timestamp::new(100_000)))
        };
        assert!(of(1, Some(95_000)) && of(1, None));
        assert!(!of(1, Some(95_001)) && !of(0, Some(0)));
        assert!(of(1, Some(0)), "all of it, and of the first entry nobody knows since when");
        assert!(!of(1, Some(200_000)), "a clock that has gone back");
    }
}

//! The clock of a node's groups: one task for all of them.
//!
//! Consensus has a clock for each group, which wakes it five times in each heartbeat; of a thousand groups that do nothing else
//! this was most of what they cost. Here a leader is told when its heartbeats are due, and a follower's own clock stands
//! still for as long as it hears its leader, for until then it could only find that it is not time to stand for election. What
//! it does once it runs is consensus' business, as before.

use super::group::Group;
use super::settings::GroupTiming;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use varve_record::PartitionId;

/// Groups beat in turn, in so many parts of a heartbeat: not all at once, which others would wait for, and not each by itself, so
/// that what they send travels together.
const PARTS: u32 = 5;
const INTERVAL_MIN: Duration = Duration::from_millis(5);

/// The groups of a node, by when each is due.
#[derive(Debug, Default)]
pub(super) struct Beats {
    beating: Mutex<Beating>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Beating {
    due: BTreeMap<(Instant, PartitionId), Due>,
    /// Since when; all beats are whole parts of a heartbeat after it.
    origin: Option<Instant>,
    /// How many there are: the more, the longer a heartbeat.
    count: usize,
    is_driven: bool,
}

#[derive(Clone, Debug)]
struct Due {
    group: Weak<Group>,
    timing: GroupTiming,
}

impl Beats {
    /// Has a group beat from now on, for as long as it is there.
    pub(super) fn add(self: &Arc<Self>, id: PartitionId, group: &Arc<Group>, timing: GroupTiming) {
        let is_driven = {
            let mut beating = self.lock();
            beating.count += 1;
            beating.insert(id, Due { group: Arc::downgrade(group), timing }, Instant::now());
            std::mem::replace(&mut beating.is_driven, true)
        };
        if is_driven {
            self.added.notify_one();
        } else {
            drop(varve_env::spawn_task(Arc::clone(self).drive()));
        }
    }

    /// Has the groups beat in their time; ends when there are none.
    async fn drive(self: Arc<Self>) {
        while let Some(next) = self.beat() {
            tokio::select! {
                biased;
                () = self.added.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Has those beat that are due, and says when the next are.
    fn beat(&self) -> Option<Instant> {
        let due = self.lock().take_due(Instant::now());
        due.iter().for_each(|group| group.beat());
        drop(due);
        let mut beating = self.lock();
        let next = beating.due.keys().next().map(|(at, _)| *at);
        beating.is_driven = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Beating> {
        self.beating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beating {
    /// The groups that are due, which are due again later.
    fn take_due(&mut self, now: Instant) -> Vec<Arc<Group>> {
        let later = self.due.split_off(&(now, PartitionId::new(u64::MAX)));
        let due = std::mem::replace(&mut self.due, later);
        // One that is gone is forgotten.
        let due: Vec<_> =
            due.into_iter().filter_map(|((_, id), due)| Some((due.group.upgrade()?, id, due))).collect();
        self.count = self.due.len() + due.len();
        due.into_iter()
            .map(|(group, id, due)| {
                self.insert(id, due, now);
                group
            })
            .collect()
    }

    /// Has a group be due at its next beat after `now`.
    fn insert(&mut self, id: PartitionId, due: Due, now: Instant) {
        let origin = *self.origin.get_or_insert(now);
        let interval = due.timing.heartbeat(self.count).max(INTERVAL_MIN);
        let at = origin + next_beat(now.saturating_duration_since(origin), interval, id);
        drop(self.due.insert((at, id), due));
    }
}

/// When a group is due next, behind `since`. What was missed is left out.
fn next_beat(since: Duration, interval: Duration, id: PartitionId) -> Duration {
    let part = interval / PARTS;
    let phase = part * u32::try_from(id.get() % u64::from(PARTS)).unwrap_or(0);
    let mut at = phase;
    if at <= since {
        let whole = (since - phase).as_nanos() / interval.as_nanos() + 1;
        at += interval * u32::try_from(whole).unwrap_or(u32::MAX);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_an_interval_apart_and_groups_take_turns() {
        let ms = Duration::from_millis;
        let next = |since, id| next_beat(ms(since), ms(100), PartitionId::new(id));
        assert_eq!(
            [next(0, 0), next(99, 0), next(100, 0), next(735, 0)],
            [ms(100), ms(100), ms(200), ms(800)]
        );
        assert_eq!([next(0, 1), next(0, 4), next(0, 6), next(20, 1)], [ms(20), ms(80), ms(20), ms(120)]);
    }
}

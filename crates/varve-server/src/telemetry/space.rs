//! The disk, and when it will be full.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, interval};
use varve_env::Env;
use varve_env::disk::DiskSpace;
use varve_storage::Storage;

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Over how long it is judged how fast the disk fills: 15 minutes.
const LOOKS_MAX: usize = 90;

/// How long it must have been looked at before anything is said.
const LOOKS_MIN: Duration = Duration::from_secs(60);

/// What is known of the disk. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpaceWatch(Arc<Mutex<Trend>>);

impl SpaceWatch {
    /// Looks now and then, for ever.
    pub(crate) async fn run(self, env: Env, storage: Storage) {
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let looked_at = storage.clone();
            if let Ok(space) = env.blocking.run(move || looked_at.space()).await {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now(), space);
            }
        }
    }

    /// The disk at the last look.
    pub(crate) fn last(&self) -> Option<DiskSpace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).looks.back().map(|(_, space)| *space)
    }

    /// When it is full if it goes on as it did.
    pub(crate) fn time_to_full(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).time_to_full()
    }
}

/// The last looks, oldest first.
#[derive(Debug, Default)]
struct Trend {
    looks: VecDeque<(Instant, DiskSpace)>,
}

impl Trend {
    fn note(&mut self, at: Instant, space: DiskSpace) {
        if self.looks.len() == LOOKS_MAX {
            self.looks.pop_front();
        }
        self.looks.push_back((at, space));
    }

    fn time_to_full(&self) -> Option<Duration> {
        let ((first_at, first), (last_at, last)) = (self.looks.front()?, self.looks.back()?);
        let passed = last_at.duration_since(*first_at);
        let used = first.available_bytes.checked_sub(last.available_bytes).filter(|used| *used > 0)?;
        if passed < LOOKS_MIN {
            return None;
        }
        let seconds = passed.as_secs_f64() * last.available_bytes as f64 / used as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(available: &[u64]) -> Trend {
        let (mut trend, begun) = (Trend::default(), Instant::now());
        for (at, available_bytes) in (0..).zip(available) {
            let space = DiskSpace { available_bytes: *available_bytes, total_bytes: 10_000 };
            trend.note(begun + LOOK_INTERVAL * at, space);
        }
        trend
    }

    #[tokio::test]
    async fn a_disk_that_fills_is_full_in_time() {
        let filling: Vec<u64> = (0..10).map(|at| 1000 - at * 10).collect();
        // 90 bytes in 90 s, and 910 are left.
        assert_eq!(trend(&filling).time_to_full().map(|left| left.as_secs()), Some(910));
    }

    #[tokio::test]
    async fn one_that_does_not_is_never_and_of_a_new_one_nobody_knows() {
        assert_eq!(trend(&[]).time_to_full(), None);
        assert_eq!(trend(&[5; 20]).time_to_full(), None);
        assert_eq!(trend(&[5, 6, 7, 8, 9, 10, 11, 12]).time_to_full(), None);
        assert_eq!(trend(&[100, 50]).time_to_full(), None);
    }
}

//! Time that retention can trust.

use tokio::time::Instant;
use varve_record::Timestamp;

/// Bounds the wall clock by time that has been seen to pass: a clock that jumps a week ahead must not make a week of records
/// old. The newest append time is where it starts, and it runs no faster than the monotonic clock from when that was seen.
#[derive(Debug)]
pub(crate) struct RetentionClock {
    newest: Timestamp,
    seen: Instant,
}

impl RetentionClock {
    pub(crate) fn new(newest: Timestamp) -> Self {
        Self { newest, seen: Instant::now() }
    }

    /// The time that records' ages are measured at.
    pub(crate) fn now(&mut self, wall: Timestamp, newest: Timestamp) -> Timestamp {
        if newest != self.newest {
            *self = Self::new(newest);
        }
        let passed = i64::try_from(self.seen.elapsed().as_millis()).unwrap_or(i64::MAX);
        wall.min(Timestamp::new(self.newest.get().saturating_add(passed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR_MS: i64 = 3_600_000;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_ahead_makes_nothing_old() {
        let newest = Timestamp::new(HOUR_MS);
        let mut clock = RetentionClock::new(newest);
        assert_eq!(clock.now(Timestamp::new(1000 * HOUR_MS), newest), newest);
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(clock.now(Timestamp::new(1000 * HOUR_MS), newest).get(), HOUR_MS + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_back_makes_nothing_old_either() {
        let newest = Timestamp::new(HOUR_MS);
        let mut clock = RetentionClock::new(newest);
        tokio::time::advance(Duration::from_secs(7200)).await;
        assert_eq!(clock.now(Timestamp::new(5), newest).get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_log_ages_with_time() {
        let newest = Timestamp::new(HOUR_MS);
        let mut clock = RetentionClock::new(newest);
        tokio::time::advance(Duration::from_secs(7200)).await;
        assert_eq!(clock.now(Timestamp::new(3 * HOUR_MS), newest).get(), 3 * HOUR_MS);
    }
}

//! When a leader that no majority answers sends nothing.
//!
//! Others may hear it all the same, and would never elect another. So it falls silent for long enough that they do, and speaks
//! again for as long, for they may need its log: with what it has and they lack none of them wins.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Tells the links of a group whether they may send.
#[derive(Debug)]
pub(crate) struct Silence {
    /// How long it lasts, and how long the time after it in which it is broken.
    period: Duration,
    /// Since when no majority has answered.
    since: Mutex<Option<Instant>>,
}

impl Silence {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period: period.max(Duration::from_millis(1)), since: Mutex::default() }
    }

    /// Takes note of whether a majority answers.
    pub(super) fn set_alone(&self, is_alone: bool) {
        let mut since = self.lock();
        match (is_alone, *since) {
            (true, None) => *since = Some(Instant::now()),
            (false, Some(_)) => *since = None,
            _ => {}
        }
    }

    /// Whether nothing is to be sent now.
    pub(super) fn is_kept(&self) -> bool {
        let since = *self.lock();
        since.is_some_and(|since| (since.elapsed().as_nanos() / self.period.as_nanos()).is_multiple_of(2))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_and_speech_take_turns_until_a_majority_answers() {
        let silence = Silence::new(Duration::from_secs(1));
        assert!(!silence.is_kept());
        silence.set_alone(true);
        for _ in 0..3 {
            assert!(silence.is_kept());
            tokio::time::advance(Duration::from_secs(1)).await;
            silence.set_alone(true);
            assert!(!silence.is_kept());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        silence.set_alone(false);
        assert!(!silence.is_kept());
    }
}

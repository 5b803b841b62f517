//! Whether the leader that is known still says anything.
//!
//! Consensus goes on to name a leader until another is elected, and that may take long: where no majority is left it never
//! comes. Whoever asks who leads would be sent to a node that does not answer. So a replica that has heard nothing from its
//! leader for the longest election timeout, after which it would elect another, names nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When a leader was heard last. What was never heard counts from the start on.
#[derive(Debug)]
pub(super) struct Hearing {
    start: Instant,
    heard_ms: AtomicU64,
    silence_max: Duration,
}

impl Hearing {
    pub(super) fn new(silence_max: Duration) -> Self {
        Self { start: Instant::now(), heard_ms: AtomicU64::new(0), silence_max }
    }

    /// The leader has said something.
    pub(super) fn note(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// Whether the leader was heard within an election timeout.
    pub(super) fn is_recent(&self) -> bool {
        Instant::now() < self.until()
    }

    /// How long what was heard so far counts.
    pub(super) fn until(&self) -> Instant {
        self.start + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)) + self.silence_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_counts_for_a_while() {
        let hearing = Hearing::new(Duration::from_millis(100));
        assert!(hearing.is_recent());
        advance(Duration::from_millis(90)).await;
        hearing.note();
        advance(Duration::from_millis(90)).await;
        assert!(hearing.is_recent());
        advance(Duration::from_millis(10)).await;
        assert!(!hearing.is_recent());
        hearing.note();
        assert!(hearing.is_recent());
    }
}

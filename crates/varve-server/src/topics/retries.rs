//! When partitions that could not be opened are tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use varve_record::PartitionId;

use crate::limits::{REOPEN_PAUSE_MAX, REOPEN_PAUSE_MIN};

/// What the metadata say of a partition that may decide whether it opens: where that changes it is tried at once.
pub(super) type Circumstances = (u64, bool);

/// The partitions that could not be opened, and when each is tried again.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<PartitionId, Retry>);

#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
    circumstances: Circumstances,
}

impl Retries {
    /// Whether a partition is to be tried now.
    pub(super) fn is_due(&self, id: PartitionId, circumstances: Circumstances) -> bool {
        let waits = |retry: &Retry| retry.circumstances == circumstances && Instant::now() < retry.at;
        !self.0.get(&id).is_some_and(waits)
    }

    /// It could not be opened: the pause before the next try doubles.
    pub(super) fn failed(&mut self, id: PartitionId, circumstances: Circumstances) {
        let before = self.0.get(&id).filter(|retry| retry.circumstances == circumstances);
        let pause = before.map_or(REOPEN_PAUSE_MIN, |retry| (retry.pause * 2).min(REOPEN_PAUSE_MAX));
        self.0.insert(id, Retry { at: Instant::now() + pause, pause, circumstances });
    }

    /// It is open, or no longer wanted.
    pub(super) fn forget(&mut self, id: PartitionId) {
        self.0.remove(&id);
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|retry| retry.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_pauses_grow_and_end_where_something_changes() {
        let (id, mut retries) = (PartitionId::new(1), Retries::default());
        assert!(retries.is_due(id, (0, false)));
        let mut pause = REOPEN_PAUSE_MIN;
        for _ in 0..12 {
            retries.failed(id, (0, false));
            assert!(!retries.is_due(id, (0, false)));
            advance(pause - Duration::from_millis(1)).await;
            assert!(!retries.is_due(id, (0, false)));
            assert_eq!(retries.next(), Some(Instant::now() + Duration::from_millis(1)));
            advance(Duration::from_millis(1)).await;
            assert!(retries.is_due(id, (0, false)));
            pause = (pause * 2).min(REOPEN_PAUSE_MAX);
        }
        retries.failed(id, (0, false));
        assert!(retries.is_due(id, (1, false)) && retries.is_due(id, (0, true)));
        retries.failed(id, (1, false));
        assert_eq!(retries.next(), Some(Instant::now() + REOPEN_PAUSE_MIN));
        retries.forget(id);
        assert!(retries.is_due(id, (1, false)));
        assert_eq!(retries.next(), None);
    }
}

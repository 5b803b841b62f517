//! One log line for many events of a kind.

use std::time::Duration;
use tokio::time::Instant;

/// How long the events after a reported one are only counted.
pub const BURST_INTERVAL: Duration = Duration::from_secs(10);

/// Says which of many events to report: the first, and then one every [`BURST_INTERVAL`] with the number of those that
/// were left out, so that a flood of bad peers is not also a flood of log lines.
#[derive(Debug, Default)]
pub struct Burst {
    reported: Option<Instant>,
    left_out: u64,
}

impl Burst {
    /// Notes an event. `Some(n)`: report it, and that `n` before it were not.
    pub fn note(&mut self) -> Option<u64> {
        let now = Instant::now();
        match self.reported {
            Some(at) if now.duration_since(at) < BURST_INTERVAL => {
                self.left_out += 1;
                None
            }
            _ => {
                self.reported = Some(now);
                Some(std::mem::take(&mut self.left_out))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reports_the_first_and_counts_the_rest() {
        let mut burst = Burst::default();
        assert_eq!(burst.note(), Some(0));
        assert_eq!((burst.note(), burst.note()), (None, None));
        tokio::time::advance(BURST_INTERVAL).await;
        assert_eq!(burst.note(), Some(2));
        assert_eq!(burst.note(), None);
    }
}

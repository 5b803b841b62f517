use std::time::Duration;

use varve_env::Entropy;

/// The pause before the first retry, at most.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_millis(20);
/// The longest pause between retries.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Pauses that double from one retry to the next, each shortened at random by up to a half, so that clients which failed
/// together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    retries: u32,
}

impl Backoff {
    /// The next pause.
    pub(crate) fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        // Fifteen doublings are far beyond the longest pause.
        let longest = BACKOFF_FIRST.saturating_mul(1 << self.retries.min(15)).min(BACKOFF_MAX);
        self.retries = self.retries.saturating_add(1);
        let half = longest / 2;
        let half_us = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        longest - half + Duration::from_micros(entropy.below(half_us))
    }

    /// Starts over, after a success.
    pub(crate) fn reset(&mut self) {
        self.retries = 0;
    }
}

#[cfg(test)]
mod tests {
    use varve_env::SeededEntropy;

    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_starts_over() {
        let entropy = SeededEntropy::new(1);
        let mut backoff = Backoff::default();
        let mut longest = BACKOFF_FIRST;
        for _ in 0..40 {
            let pause = backoff.next(&entropy);
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
            longest = (longest * 2).min(BACKOFF_MAX);
        }
        backoff.reset();
        assert!(backoff.next(&entropy) <= BACKOFF_FIRST);
    }
}

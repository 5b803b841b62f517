//! Medians.

use std::time::Duration;

/// The smallest measurement that is not exceeded by `percent` of all.
pub(crate) fn quantile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    let rank = (samples.len() * percent).div_ceil(100).max(1) - 1;
    samples.get(rank).copied().unwrap_or_default()
}

/// How often something happened, a second.
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    // A bench counts far below 2^52.
    count as f64 / took.as_secs_f64()
}

/// The median of some rates.
pub(crate) fn median_rate(rates: &mut [f64]) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut samples: Vec<_> = (1..=100).map(Duration::from_secs).collect();
        assert_eq!(quantile(&mut samples, 50), Duration::from_secs(50));
        assert_eq!(quantile(&mut samples, 99), Duration::from_secs(99));
        assert_eq!(quantile(&mut [Duration::from_secs(7)], 1), Duration::from_secs(7));
        assert_eq!(quantile(&mut [], 50), Duration::ZERO);
    }
}

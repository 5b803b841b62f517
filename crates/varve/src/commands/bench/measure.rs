//! Figures.

use std::time::Duration;

use serde::Serialize;

use crate::units::{human_bytes, human_count};

/// The columns of the table.
pub(crate) const COLUMNS: [&str; 8] =
    ["WHAT", "RECORDS#", "SECONDS#", "RECORDS/S#", "BYTES/S#", "MEDIAN#", "P99#", "MAX#"];

/// What one measurement gave.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    what: &'static str,
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    bytes_per_second: f64,
    /// From the call to the acknowledgement of a record; absent where nothing is acknowledged.
    latency: Option<Latency>,
}

/// How long records took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Latency {
    median_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Measured {
    /// So many records and bytes in so long.
    pub(crate) fn new(
        what: &'static str,
        records: u64,
        bytes: u64,
        elapsed: Duration,
        latency: Option<Latency>,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let per_second = |count: u64| count as f64 / seconds.max(1e-9);
        let (records_per_second, bytes_per_second) = (per_second(records), per_second(bytes));
        Self { what, records, bytes, seconds, records_per_second, bytes_per_second, latency }
    }

    /// A row of the table.
    pub(crate) fn cells(&self) -> [String; 8] {
        let latency =
            |of: fn(Latency) -> u64| self.latency.map_or_else(|| "-".into(), |latency| human_us(of(latency)));
        [
            self.what.into(),
            human_count(self.records),
            format!("{:.2}", self.seconds),
            human_count(self.records_per_second as u64),
            human_bytes(self.bytes_per_second as u64),
            latency(|latency| latency.median_us),
            latency(|latency| latency.p99_us),
            latency(|latency| latency.max_us),
        ]
    }
}

impl Latency {
    /// The latency of these, if there are any.
    pub(crate) fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort_unstable();
        // Nearest rank: the least value that this part of all does not pass.
        let at = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).max(1);
            all.get(rank - 1).map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
        };
        Some(Self { median_us: at(50)?, p99_us: at(99)?, max_us: at(100)? })
    }
}

fn human_us(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} us"),
        10_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let latency = |count: u64| Latency::of((1..=count).rev().map(Duration::from_micros).collect());
        assert_eq!(latency(0), None);
        assert_eq!(latency(1), Some(Latency { median_us: 1, p99_us: 1, max_us: 1 }));
        assert_eq!(latency(1000), Some(Latency { median_us: 500, p99_us: 990, max_us: 1000 }));
    }
}

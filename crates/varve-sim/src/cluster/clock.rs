//! The wall clock of a host, which is wrong by as much as the simulation likes.

use std::sync::atomic::{AtomicI64, Ordering};
use varve_env::WallClock;

/// Where every wall clock begins, in seconds since the Unix epoch. That of the operating system, which certificates are held
/// against, stands still there (`chance.rs` of the binary).
pub const EPOCH_S: u32 = 1_800_000_000;

const EPOCH_MS: i64 = EPOCH_S as i64 * 1000;

/// Simulated time, and what the host takes it for.
#[derive(Debug, Default)]
pub(super) struct SkewedClock {
    skew_ms: AtomicI64,
    /// The simulated time that was seen last, for those who ask while no host runs: a host that is being torn down.
    last_ms: AtomicI64,
}

impl SkewedClock {
    /// Sets how far the clock is off, in milliseconds.
    pub(super) fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl WallClock for SkewedClock {
    fn now_unix_ms(&self) -> i64 {
        if let Some(elapsed) = turmoil::sim_elapsed() {
            self.last_ms.store(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        EPOCH_MS + self.last_ms.load(Ordering::Relaxed) + self.skew_ms.load(Ordering::Relaxed)
    }
}

//! How many connections there are, for whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Protocol;
use crate::tell::Stranger;

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its TLS handshake failed, or it shows no certificate of a node and wants to speak as one.
    Handshake,
    /// There were too many.
    Limit,
    /// It did not say in time what it speaks.
    Silent,
    /// It speaks nothing that is spoken here.
    Protocol,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Handshake, Self::Limit, Self::Silent, Self::Protocol];

    pub(crate) fn of(stranger: &Stranger) -> Self {
        match stranger {
            _ if stranger.is_silent() => Self::Silent,
            Stranger::Handshake(_) | Stranger::NoPeer => Self::Handshake,
            Stranger::TooMany(_) => Self::Limit,
            _ => Self::Protocol,
        }
    }
}

/// Counts connections. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub struct ConnectionStats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: [AtomicI64; 3],
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl ConnectionStats {
    /// How many connections are open that speak it.
    #[must_use]
    pub fn open(&self, protocol: Protocol) -> u64 {
        u64::try_from(self.0.open[protocol as usize].load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// How many were not taken for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.0.refused[refusal as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.0.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One more that speaks it, until what is given back is dropped.
    pub(crate) fn begin(&self, protocol: Protocol) -> Counted {
        self.0.open[protocol as usize].fetch_add(1, Ordering::Relaxed);
        Counted { stats: self.clone(), protocol }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    stats: ConnectionStats,
    protocol: Protocol,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stats.0.open[self.protocol as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

//! How much the listener takes.

use std::time::Duration;

/// By default, the most connections that are open at once. One more is closed: as soon as it is accepted, or, where there is room
/// for nodes alone, once it has told that it is none.
pub const CONNECTIONS_MAX: usize = 10_000;

/// By default, how many of them are kept for other nodes of the cluster, so that no number of clients keeps those apart.
pub const PEERS_RESERVED: usize = 256;

/// By default, the most connections that have not yet told what they speak. One more closes the
/// oldest of the address that has most of them.
pub const PENDING_MAX: usize = 256;

/// By default, how long a connection may stay silent after it was accepted.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(2);

/// By default, how long a connection may take to tell what it speaks, from when it was accepted, its handshake included.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);

/// The first pause after the system could not give a connection, for want of file handles or memory.
pub const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(10);

/// The longest such pause. Each doubles the one before.
pub const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The limits of a [`Mux`](crate::Mux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MuxLimits {
    /// The most open connections; [`CONNECTIONS_MAX`] by default.
    pub connections_max: usize,
    /// How many of those only peers take; [`PEERS_RESERVED`] by default, and never more than half.
    pub peers_reserved: usize,
    /// The most connections not yet told apart; [`PENDING_MAX`] by default.
    pub pending_max: usize,
    /// Time for the first byte; [`FIRST_BYTE_TIMEOUT`] by default.
    pub first_byte_timeout: Duration,
    /// Time for all the bytes that tell the protocol; [`PREFACE_TIMEOUT`] by default.
    pub preface_timeout: Duration,
}

impl Default for MuxLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            peers_reserved: PEERS_RESERVED,
            pending_max: PENDING_MAX,
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            preface_timeout: PREFACE_TIMEOUT,
        }
    }
}

impl MuxLimits {
    /// The most connections of others than peers.
    pub(crate) fn clients_max(&self) -> usize {
        self.connections_max - self.peers_reserved.min(self.connections_max / 2)
    }
}

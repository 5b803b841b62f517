//! Framed connections between peers: requests and their answers, many at a time, checked by sums.
//!
//! A [`PeerClient`] asks; [`serve_peer`] answers a connection that was accepted. What is asked is bytes here. Each pair of nodes
//! has one connection for each [`PeerLane`], so that a long transfer does not hold up a vote.

mod client;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hello;
mod server;

pub use client::{PEER_QUEUE_BYTES_MAX, PeerAddresses, PeerClient, PeerNetwork, PeerUnreachable};
pub use frame::{PEER_PAYLOAD_BYTES_MAX, Payload};
pub use hello::{HelloError, PEER_PROTOCOL_VERSION, PeerIdentity};
pub use server::{OpenGate, PeerGate, PeerHandler, serve_peer};

use std::time::Duration;

/// Requests of one connection that are answered at the same time; more wait. Some of each of many groups: what one of them holds
/// up must not hold up the rest.
pub const PEER_FLIGHTS_MAX: usize = 4096;
/// The most of a refusal's reason that is said, in bytes.
const REFUSAL_BYTES_MAX: usize = 1024;
/// How long peers may take to greet each other.
pub const PEER_HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// One of the connections between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PeerLane {
    /// Small and urgent.
    Control = 1,
    /// The bulk.
    Data = 2,
    /// Rare and large.
    Snapshot = 3,
}

impl PeerLane {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Control, Self::Data, Self::Snapshot].into_iter().find(|lane| *lane as u8 == number)
    }
}

//! The listener: one TCP port, and what comes in told apart.
//!
//! [`Mux`] accepts connections within limits, takes their handshake where it has TLS, finds out what a peer speaks
//! ([`Protocol`]) from what was agreed in that or from as few bytes as tell, and hands the connection on with those bytes put
//! back. A peer that stays silent, or speaks what nobody here understands, is closed.
//!
//! This crate must never know what flows through a connection once it is told apart: no gRPC, no Raft, no policy. Start reading
//! at [`Mux`], then [`Protocol`], then [`PeerClient`] and [`serve_peer`] for the framed connections between peers.

mod connection;
mod limits;
mod mux;
mod peer;
mod protocol;
mod stats;
mod tell;
mod tls_network;

pub use connection::{Connection, Security};
pub use limits::{
    ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, CONNECTIONS_MAX, FIRST_BYTE_TIMEOUT, MuxLimits, PEERS_RESERVED,
    PENDING_MAX, PREFACE_TIMEOUT,
};
pub use mux::{Incoming, Mux};
pub use peer::{
    HelloError, OpenGate, PEER_FLIGHTS_MAX, PEER_HELLO_TIMEOUT, PEER_PAYLOAD_BYTES_MAX,
    PEER_PROTOCOL_VERSION, PEER_QUEUE_BYTES_MAX, Payload, PeerAddresses, PeerClient, PeerGate, PeerHandler,
    PeerIdentity, PeerLane, PeerNetwork, PeerUnreachable, serve_peer,
};
pub use protocol::{HTTP2_PREFACE, PEER_BYTE, PREFACE_BYTES_MAX, Protocol};
pub use stats::{ConnectionStats, Refusal};
pub use tls_network::{PeerCheck, TlsPeerNetwork, TlsServiceNetwork};

/// For the fuzz targets alone.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing {
    pub use crate::peer::fuzzing::peer_frames;
    pub use crate::protocol::fuzzing::first_bytes;
}

//! A handshake that was taken.

use crate::PeerCertificate;
use tokio_rustls::TlsStream;

/// What a connection is for, as both sides agreed in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// A peer: `varve-raft/1`.
    Peer,
    /// HTTP/2: `h2`.
    Http2,
    /// HTTP/1: `http/1.1`.
    Http1,
    /// Nothing was said.
    None,
}

impl Alpn {
    pub(crate) const PEER: &'static [u8] = b"varve-raft/1";
    pub(crate) const HTTP2: &'static [u8] = b"h2";
    pub(crate) const HTTP1: &'static [u8] = b"http/1.1";

    pub(crate) fn of(name: Option<&[u8]>) -> Self {
        match name {
            Some(name) if name == Self::PEER => Self::Peer,
            Some(name) if name == Self::HTTP2 => Self::Http2,
            Some(name) if name == Self::HTTP1 => Self::Http1,
            _ => Self::None,
        }
    }
}

/// A connection whose handshake was taken.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection, in which nothing was read yet.
    pub stream: TlsStream<S>,
    /// What it is for.
    pub alpn: Alpn,
    /// What the caller has shown; `None` where it has shown nothing.
    pub certificate: Option<PeerCertificate>,
}

//! Finding out what a connection speaks.

use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use varve_env::net::BoxStream;
use varve_tls::{Accepted, Alpn, HandshakeError, Prefixed, ServerTls};

use crate::protocol::{PREFACE_BYTES_MAX, Protocol, TLS_BYTE, Verdict, judge};
use crate::{MuxLimits, Security};

/// How long a caller that has come to the wrong kind of port may take to hear it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of what such a caller sends on is thrown away: a close before that is read would take the answer from it.
const THROWN_AWAY_BYTES_MAX: u64 = 64 * 1024;

/// What a caller hears that speaks HTTP/1 in the clear to a port with TLS.
const WANTS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 39\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks TLS: call it by https\n";

/// What a caller hears that speaks HTTP/2 in the clear to a port with TLS: no settings, and a GOAWAY for INADEQUATE_SECURITY (RFC
/// 9113, sections 6.5, 6.8 and 7) that says why.
const WANTS_TLS_HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x2e\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0c\
    this port speaks TLS: call it by https";

/// What a caller hears that speaks TLS to a port in the clear. Every library of TLS says then that this is none.
const SERVES_IN_CLEAR: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 40\r\n\
    connection: close\r\n\
    \r\n\
    this port serves in the clear, not TLS.\n";

/// A connection of which it is known what it speaks.
pub(crate) struct Told {
    pub(crate) protocol: Protocol,
    /// It begins with what was read to find out.
    pub(crate) stream: Prefixed<BoxStream>,
    pub(crate) security: Security,
}

/// A connection that is not taken, and why.
#[derive(Debug, Error)]
pub(crate) enum Stranger {
    /// It did not say what it speaks, or not in time.
    #[error("it did not say in time what it speaks, or went away")]
    Silent,
    /// It speaks nothing known.
    #[error("it speaks nothing that is spoken here")]
    Unknown,
    /// It speaks TLS to a port without.
    #[error("it speaks TLS, and this port serves in the clear")]
    TlsToClear,
    /// It speaks in the clear to a port with TLS.
    #[error("it speaks in the clear, and this port serves TLS alone")]
    ClearToTls,
    /// The handshake failed.
    #[error("its TLS handshake failed: {0}")]
    Handshake(HandshakeError),
    /// It wants to speak to nodes, and shows no certificate of one.
    #[error("it wants to speak as a node, and shows no certificate of one")]
    NoPeer,
    /// There are so many clients already.
    #[error("of at most {0} connections those for clients are taken")]
    TooMany(usize),
}

impl Stranger {
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Silent | Self::Handshake(HandshakeError::Io { .. }))
    }
}

/// Finds out what a connection speaks, within the limits: with `tls` after its handshake, which nobody gets around.
pub(crate) async fn tell(
    mut stream: BoxStream,
    limits: MuxLimits,
    tls: Option<&ServerTls>,
) -> Result<Told, Stranger> {
    let begun = Instant::now();
    let until_told = begun + limits.preface_timeout;
    let until_first = until_told.min(begun + limits.first_byte_timeout);
    let mut first = BytesMut::with_capacity(PREFACE_BYTES_MAX);
    let Some(tls) = tls else {
        let protocol = by_bytes(&mut stream, &mut first, until_first, until_told).await;
        if let Err(Stranger::TlsToClear) = protocol {
            answer(stream, SERVES_IN_CLEAR).await;
            return Err(Stranger::TlsToClear);
        }
        let stream = Prefixed::new(first.freeze(), stream);
        return Ok(Told { protocol: protocol?, stream, security: Security::Clear });
    };
    read_some(&mut stream, &mut first, until_first).await?;
    if first.first() != Some(&TLS_BYTE) {
        return Err(say_that_tls_is_wanted(stream, &first).await);
    }
    let whole = Prefixed::new(first.freeze(), stream);
    let accepted = timeout_at(until_told, tls.accept(whole)).await;
    let Accepted { mut stream, alpn, certificate } =
        accepted.map_err(|_| Stranger::Silent)?.map_err(Stranger::Handshake)?;
    let mut first = BytesMut::new();
    let protocol = match alpn {
        Alpn::Peer => Protocol::Peer,
        // Whoever calls may wait for the first word of this side, which tells it that it is let in.
        Alpn::Http2 => Protocol::Http2,
        Alpn::Http1 => Protocol::Http1,
        Alpn::None => match by_bytes(&mut stream, &mut first, until_told, until_told).await? {
            // A node says so in the handshake.
            Protocol::Peer => return Err(Stranger::NoPeer),
            protocol => protocol,
        },
    };
    let by_peer = certificate.as_ref().is_some_and(varve_tls::PeerCertificate::is_by_peer_authority);
    if protocol == Protocol::Peer && !by_peer {
        return Err(Stranger::NoPeer);
    }
    let stream = Prefixed::new(first.freeze(), Box::new(stream) as BoxStream);
    Ok(Told { protocol, stream, security: Security::Tls { certificate } })
}

/// Reads into `first` until it tells the protocol: something by the one time, all that it takes by the other.
async fn by_bytes(
    stream: &mut (impl AsyncRead + Unpin),
    first: &mut BytesMut,
    until_first: Instant,
    until_told: Instant,
) -> Result<Protocol, Stranger> {
    let mut deadline = until_first;
    loop {
        read_some(stream, first, deadline).await?;
        match judge(first) {
            Verdict::Known(protocol) => return Ok(protocol),
            Verdict::Unknown if first.first() == Some(&TLS_BYTE) => return Err(Stranger::TlsToClear),
            Verdict::Unknown => return Err(Stranger::Unknown),
            Verdict::Undecided => deadline = until_told,
        }
    }
}

/// Reads what is there, and no more than is looked at, so that the rest stays where the handler reads it.
async fn read_some(
    stream: &mut (impl AsyncRead + Unpin),
    first: &mut BytesMut,
    deadline: Instant,
) -> Result<(), Stranger> {
    let mut room = stream.take((PREFACE_BYTES_MAX - first.len()) as u64);
    match timeout_at(deadline, room.read_buf(first)).await {
        Ok(Ok(read)) if read > 0 => Ok(()),
        _ => Err(Stranger::Silent),
    }
}

/// Tells whoever speaks HTTP that it has come to a port with TLS; the others would not understand.
async fn say_that_tls_is_wanted(stream: BoxStream, first: &[u8]) -> Stranger {
    match judge(first) {
        Verdict::Unknown => return Stranger::Unknown,
        Verdict::Known(Protocol::Http1) => answer(stream, WANTS_TLS).await,
        Verdict::Known(Protocol::Http2) => answer(stream, WANTS_TLS_HTTP2).await,
        Verdict::Known(Protocol::Peer) | Verdict::Undecided => {}
    }
    Stranger::ClearToTls
}

/// Answers, and closes when the other side has done so, or has had its time.
async fn answer(mut stream: BoxStream, words: &[u8]) {
    let answered = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(THROWN_AWAY_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // It may have gone, or say more than is heard.
    drop(timeout(ANSWER_TIMEOUT, answered).await);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answers_are_as_long_as_they_say() {
        for answer in [super::WANTS_TLS, super::SERVES_IN_CLEAR] {
            let (head, body) = std::str::from_utf8(answer).unwrap().split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        }
        let goaway = &super::WANTS_TLS_HTTP2[9..];
        assert_eq!(usize::from(goaway[2]), goaway.len() - 9);
    }
}

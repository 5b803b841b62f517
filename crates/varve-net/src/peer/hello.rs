//! What peers tell each other first. `docs/peer-protocol.md` describes the bytes.

use super::PeerLane;
use crate::PEER_BYTE;
use bytes::{Buf, BufMut};
use std::io;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of the protocol that is spoken here.
pub const PEER_PROTOCOL_VERSION: u16 = 1;

const MAGIC: &[u8; 4] = b"VRVP";
pub(super) const HELLO_BYTES: usize = 4 + 2 + 1 + 1 + 16 + 8 + 8 + 4;

/// Who a node is, for its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster, which keeps strangers apart.
    pub cluster: [u8; 16],
    /// The node's number in it.
    pub node: u64,
}

/// Why two nodes do not talk.
#[derive(Debug, Error)]
pub enum HelloError {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// What came is no greeting of a peer.
    #[error("the other side is no peer, or its greeting is damaged")]
    Malformed,
    /// The other side speaks another version.
    #[error("the other side speaks version {found} of the peer protocol, this one {PEER_PROTOCOL_VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// The other side is of another cluster.
    #[error("the other side belongs to another cluster")]
    Cluster,
    /// The other side is not let in.
    #[error("the other side says that it is node {node}: {reason}")]
    Refused {
        /// What it says.
        node: u64,
        /// Why it is not believed.
        reason: String,
    },
    /// The other side is another node than it should be, or takes this one for another.
    #[error("node {expected} was expected, but node {found} is there")]
    Node {
        /// Who was meant.
        expected: u64,
        /// Who was there.
        found: u64,
    },
}

/// A greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) lane: PeerLane,
    pub(super) cluster: [u8; 16],
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Hello {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HELLO_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u16_le(self.version);
        bytes.put_u8(self.lane as u8);
        bytes.put_u8(0);
        bytes.put_slice(&self.cluster);
        bytes.put_u64_le(self.from);
        bytes.put_u64_le(self.to);
        bytes.put_u32_le(crc32c::crc32c(&bytes));
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HELLO_BYTES]) -> Option<Self> {
        let checked = crc32c::crc32c(&bytes[..HELLO_BYTES - 4]);
        let mut fields = &bytes[..];
        let magic_fits = fields.get_u32_le() == u32::from_le_bytes(*MAGIC);
        let version = fields.get_u16_le();
        let lane = PeerLane::from_number(fields.get_u8());
        fields.advance(1);
        let mut cluster = [0; 16];
        fields.copy_to_slice(&mut cluster);
        let (from, to) = (fields.get_u64_le(), fields.get_u64_le());
        let sound = magic_fits && fields.get_u32_le() == checked;
        Some(Self { version, lane: lane?, cluster, from, to }).filter(|_| sound)
    }
}

/// Greets the node `to`, and checks who answers.
pub(super) async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    this: PeerIdentity,
    to: u64,
    lane: PeerLane,
) -> Result<(), HelloError> {
    let hello = Hello { version: PEER_PROTOCOL_VERSION, lane, cluster: this.cluster, from: this.node, to };
    stream.write_all(&[&[PEER_BYTE], &hello.encode()[..]].concat()).await?;
    stream.flush().await?;
    let answer = read(stream).await?;
    check(&answer, this)?;
    if answer.from != to {
        return Err(HelloError::Node { expected: to, found: answer.from });
    }
    Ok(())
}

/// Reads a greeting, the byte that tells peers included, and answers it; says who is there. The answer goes out even to one who
/// is refused, so that both sides know why.
pub(super) async fn welcome(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    this: PeerIdentity,
) -> Result<(u64, PeerLane), HelloError> {
    let mut first = [0];
    stream.read_exact(&mut first).await?;
    if first != [PEER_BYTE] {
        return Err(HelloError::Malformed);
    }
    let hello = read(stream).await?;
    let answer = Hello {
        version: PEER_PROTOCOL_VERSION,
        lane: hello.lane,
        cluster: this.cluster,
        from: this.node,
        to: hello.from,
    };
    stream.write_all(&answer.encode()).await?;
    stream.flush().await?;
    check(&hello, this)?;
    Ok((hello.from, hello.lane))
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, HelloError> {
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    Hello::decode(&bytes).ok_or(HelloError::Malformed)
}

fn check(hello: &Hello, this: PeerIdentity) -> Result<(), HelloError> {
    if hello.version != PEER_PROTOCOL_VERSION {
        return Err(HelloError::Version { found: hello.version });
    }
    if hello.cluster != this.cluster {
        return Err(HelloError::Cluster);
    }
    if hello.to != this.node {
        return Err(HelloError::Node { expected: hello.to, found: this.node });
    }
    Ok(())
}

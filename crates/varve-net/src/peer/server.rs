//! The answering side of a connection between peers.

use super::frame::{Frame, FrameKind, Payload, read_frame, write_frame};
use super::hello::{HelloError, PeerIdentity, welcome};
use super::{PEER_FLIGHTS_MAX, PEER_HELLO_TIMEOUT, PeerLane, REFUSAL_BYTES_MAX};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

/// What is read ahead of a connection.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// Bytes of requests of one connection that are answered at the same time; over it nothing more is read.
const FLYING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a connection may be idle before it is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Answers the requests of one peer.
pub trait PeerHandler: Send + Sync + 'static {
    /// Answers one request. Those of one connection are first polled in the order in which they came.
    fn answer(&self, from: u64, lane: PeerLane, request: Bytes) -> BoxFuture<'static, Payload>;
}

/// Says who may come in, and for how long.
pub trait PeerGate: Send + Sync {
    /// Whether whoever says that it is this node may come in; else why not.
    fn admit(&self, node: u64) -> BoxFuture<'_, Result<(), String>>;
    /// Returns, with the reason, once a node that was let in may stay no longer.
    fn expelled(&self, node: u64) -> BoxFuture<'_, String>;
}

/// A gate that stands open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

impl PeerGate for OpenGate {
    fn admit(&self, _node: u64) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }

    fn expelled(&self, _node: u64) -> BoxFuture<'_, String> {
        std::future::pending().boxed()
    }
}

/// Serves a connection that a peer has made, with the byte that tells peers still to be read, until it ends. Whoever `gate` does not
/// let in is told why. The caller bounds how many there are.
///
/// # Errors
/// Where the other side is no peer of this cluster, or breaks the protocol; the connection is then closed.
pub async fn serve_peer(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    this: PeerIdentity,
    handler: &dyn PeerHandler,
    gate: &dyn PeerGate,
) -> Result<(), HelloError> {
    let (from, lane) = match tokio::time::timeout(PEER_HELLO_TIMEOUT, welcome(&mut stream, this)).await {
        Ok(welcomed) => welcomed?,
        Err(_) => return Err(HelloError::Io(io::ErrorKind::TimedOut.into())),
    };
    if let Err(reason) = gate.admit(from).await {
        return Err(refuse(&mut stream, from, reason).await);
    }
    let (reading, mut writing) = tokio::io::split(stream);
    let mut reading = BufReader::with_capacity(READ_AHEAD_BYTES, reading);
    let (answers, mut outgoing) = mpsc::channel::<(u64, Payload)>(PEER_FLIGHTS_MAX);
    let write = async {
        while let Some((id, payload)) = outgoing.recv().await {
            write_frame(&mut writing, FrameKind::Response, id, payload).await?;
            // What is ready goes out together.
            if outgoing.is_empty() {
                writing.flush().await?;
            }
        }
        io::Result::Ok(())
    };
    let read = async {
        let answers = answers;
        let mut flights = FuturesUnordered::new();
        let mut flying_bytes = 0;
        loop {
            // A frame that is half read must not be dropped, so that it is read to its end before anything else is looked at.
            let mut next = std::pin::pin!(read_frame(&mut reading));
            let frame = loop {
                tokio::select! {
                    biased;
                    Some((bytes, done)) = flights.next(), if !flights.is_empty() => {
                        flying_bytes -= bytes;
                        drop(answers.send(done).await);
                    }
                    frame = &mut next,
                        if flights.len() < PEER_FLIGHTS_MAX && flying_bytes < FLYING_BYTES_MAX => break frame?,
                    // Whoever is gone without a word is not kept for ever; whoever is there connects again.
                    () = tokio::time::sleep(IDLE_TIMEOUT), if flights.is_empty() => return Ok(()),
                }
            };
            match frame {
                Some(Frame { kind: FrameKind::Request, id, payload }) => {
                    let bytes = payload.len();
                    flying_bytes += bytes;
                    let answer = handler.answer(from, lane, payload);
                    flights.push(answer.map(move |payload| (bytes, (id, payload))));
                }
                Some(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "an answer that nobody asked for",
                    ));
                }
                None => return Ok(()),
            }
        }
    };
    let reason = tokio::select! {
        done = read => return Ok(done?),
        done = write => return Ok(done?),
        reason = gate.expelled(from) => reason,
    };
    Err(refuse(&mut writing, from, reason).await)
}

/// Tells a node why it is not served. Where half an answer was sent, or nobody listens, it sees that the connection ends.
async fn refuse(stream: &mut (impl AsyncWrite + Unpin), node: u64, reason: String) -> HelloError {
    let told = async {
        let said = reason.floor_char_boundary(REFUSAL_BYTES_MAX);
        let payload = Bytes::copy_from_slice(&reason.as_bytes()[..said]).into();
        write_frame(stream, FrameKind::Refusal, 0, payload).await?;
        stream.shutdown().await
    };
    drop(tokio::time::timeout(PEER_HELLO_TIMEOUT, told).await);
    HelloError::Refused { node, reason }
}

//! The asking side: connections to peers, made when they are needed.

use super::frame::{Frame, FrameKind, Payload, read_frame, write_frame};
use super::hello::{HelloError, PeerIdentity, greet};
use super::{PEER_FLIGHTS_MAX, PEER_HELLO_TIMEOUT, PeerLane, REFUSAL_BYTES_MAX};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use varve_env::Entropy;
use varve_env::net::{BoxStream, Network};

/// Bytes that wait to be written to one connection; over it callers wait.
pub const PEER_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The first pause after a connection failed, and the longest. Until it is over, requests fail at once.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Says where a node is reached, as `host:port`; `None` where that is not known now.
pub type PeerAddresses = Arc<dyn Fn(u64) -> Option<String> + Send + Sync>;

/// How nodes are connected to.
pub trait PeerNetwork: Send + Sync + 'static {
    /// Connects to a node, at an address as `host:port`.
    fn connect_to(&self, node: u64, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// In the clear nobody says who they are.
impl<N: Network + ?Sized + 'static> PeerNetwork for Arc<N> {
    fn connect_to(&self, _node: u64, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>> {
        self.connect(host_port)
    }
}

/// A request that got no answer.
#[derive(Clone, Debug, Error)]
#[error("node {node} cannot be reached: {reason}")]
pub struct PeerUnreachable {
    /// The node.
    pub node: u64,
    /// Why not.
    pub reason: Arc<str>,
    /// Whether the request may have arrived all the same. Where not, nothing of it was sent.
    pub may_have_arrived: bool,
}

/// Asks other nodes, over one connection for each node and lane, made when it is needed, shared by all who ask, and made
/// again when it fails. Cheap to clone.
#[derive(Clone)]
pub struct PeerClient(Arc<Shared>);

struct Shared {
    network: Box<dyn PeerNetwork>,
    entropy: Arc<dyn Entropy>,
    this: PeerIdentity,
    addresses: PeerAddresses,
    lanes: Mutex<BTreeMap<(u64, PeerLane), Lane>>,
}

#[derive(Clone)]
struct Lane {
    calls: mpsc::Sender<Call>,
    room: Arc<Semaphore>,
}

/// Where an answer goes, or why there is none.
type Answer = oneshot::Sender<Result<Bytes, Failure>>;

/// Why there is no answer.
struct Failure {
    reason: Arc<str>,
    may_have_arrived: bool,
}

struct Call {
    payload: Payload,
    answer: Answer,
    /// Given back when the call is written.
    room: OwnedSemaphorePermit,
}

impl PeerClient {
    /// A client that has no connection yet.
    #[must_use]
    pub fn new(
        network: impl PeerNetwork,
        entropy: Arc<dyn Entropy>,
        this: PeerIdentity,
        addresses: PeerAddresses,
    ) -> Self {
        let network = Box::new(network);
        Self(Arc::new(Shared { network, entropy, this, addresses, lanes: Mutex::default() }))
    }

    /// Asks a node, and gives its answer; the caller bounds the time. Requests on one lane are sent in the order of the first
    /// polls.
    ///
    /// # Errors
    /// Where there is no connection, or it fails: the error tells whether the request may have arrived.
    pub async fn call(&self, node: u64, lane: PeerLane, payload: Payload) -> Result<Bytes, PeerUnreachable> {
        let unreachable =
            |Failure { reason, may_have_arrived }| PeerUnreachable { node, reason, may_have_arrived };
        let Lane { calls, room } = self.lane(node, lane);
        let bytes = u32::try_from(payload.len_bytes().clamp(1, PEER_QUEUE_BYTES_MAX)).unwrap_or(u32::MAX);
        let closed = |may_have_arrived| {
            unreachable(Failure { reason: "the client is closing".into(), may_have_arrived })
        };
        let room = room.acquire_many_owned(bytes).await.map_err(|_| closed(false))?;
        let (answer, answered) = oneshot::channel();
        calls.send(Call { payload, answer, room }).await.map_err(|_| closed(false))?;
        match answered.await {
            Ok(result) => result.map_err(unreachable),
            Err(_) => Err(closed(true)),
        }
    }

    fn lane(&self, node: u64, lane: PeerLane) -> Lane {
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let made = lanes.entry((node, lane)).or_insert_with(|| {
            let (calls, queue) = mpsc::channel(PEER_FLIGHTS_MAX);
            let worker = Worker { shared: Arc::downgrade(&self.0), node, lane };
            drop(varve_env::spawn_task(worker.run(queue)));
            Lane { calls, room: Arc::new(Semaphore::new(PEER_QUEUE_BYTES_MAX)) }
        });
        made.clone()
    }
}

impl fmt::Debug for PeerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerClient").field("this", &self.0.this).finish_non_exhaustive()
    }
}

/// Owns one connection.
struct Worker {
    shared: std::sync::Weak<Shared>,
    node: u64,
    lane: PeerLane,
}

impl Worker {
    async fn run(self, mut calls: mpsc::Receiver<Call>) {
        let mut backoff = BACKOFF_MIN;
        while let Some(first) = calls.recv().await {
            let Some(shared) = self.shared.upgrade() else { return };
            let reason: Arc<str> = match self.connect(&shared).await {
                Ok(stream) => {
                    drop(shared);
                    let Err(error) = converse(stream, silence(self.lane), first, &mut calls).await else {
                        return;
                    };
                    // Whoever is refused is so the next time as well.
                    if error.kind() != io::ErrorKind::PermissionDenied {
                        backoff = BACKOFF_MIN;
                    }
                    error.to_string().into()
                }
                Err(error) => {
                    let reason: Arc<str> = error.to_string().into();
                    first.refuse(&reason);
                    reason
                }
            };
            tracing::debug!(node = self.node, lane = ?self.lane, %reason, "no connection to the peer");
            self.pause(backoff, &reason, &mut calls).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn connect(&self, shared: &Shared) -> Result<BoxStream, HelloError> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "its address is not known");
        let address = (shared.addresses)(self.node).ok_or_else(missing)?;
        let connecting = async {
            let mut stream = shared.network.connect_to(self.node, address).await?;
            let greeting = greet(&mut stream, shared.this, self.node, self.lane);
            tokio::time::timeout(PEER_HELLO_TIMEOUT, greeting).await.map_err(|_| timed_out())??;
            Ok(stream)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| timed_out())?
    }

    /// Refuses what is asked until it is time to try again.
    async fn pause(&self, backoff: Duration, reason: &Arc<str>, calls: &mut mpsc::Receiver<Call>) {
        let Some(shared) = self.shared.upgrade() else { return };
        // Half of it by chance, so that nodes do not all come at once.
        let half_ms = u64::try_from(backoff.as_millis() / 2).unwrap_or(u64::MAX);
        let until = Instant::now() + Duration::from_millis(half_ms + shared.entropy.below(half_ms + 1));
        drop(shared);
        while let Ok(Some(call)) = tokio::time::timeout_at(until, calls.recv()).await {
            call.refuse(reason);
        }
    }
}

impl Call {
    /// Says that nothing of it was sent.
    fn refuse(self, reason: &Arc<str>) {
        let failure = Failure { reason: Arc::clone(reason), may_have_arrived: false };
        drop(self.answer.send(Err(failure)));
    }
}

/// Sends what is asked and hands out what is answered until the connection fails; `Ok` where nobody asks any more.
async fn converse(
    stream: BoxStream,
    silence: Duration,
    first: Call,
    calls: &mut mpsc::Receiver<Call>,
) -> io::Result<()> {
    let waiting: Mutex<BTreeMap<u64, (Instant, Answer)>> = Mutex::default();
    let (reading, mut writing) = tokio::io::split(stream);
    let mut reading = BufReader::with_capacity(READ_AHEAD_BYTES, reading);
    let write = async {
        let mut id = 0_u64;
        let mut next = Some(first);
        while let Some(Call { payload, answer, room }) = next {
            id += 1;
            lock(&waiting).insert(id, (Instant::now(), answer));
            write_frame(&mut writing, FrameKind::Request, id, payload).await?;
            drop(room);
            next = match calls.try_recv() {
                Ok(call) => Some(call),
                Err(_) => {
                    writing.flush().await?;
                    calls.recv().await
                }
            };
        }
        io::Result::Ok(())
    };
    let read = async {
        loop {
            // A path that is dead says nothing: neither an end nor an error, for a quarter of an hour.
            let since = Instant::now();
            let mut next = std::pin::pin!(read_frame(&mut reading));
            let frame = loop {
                match tokio::time::timeout(silence / 4, &mut next).await {
                    Ok(frame) => break frame?,
                    Err(_) if is_silent(&lock(&waiting), since, silence) => {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "it gives no answers"));
                    }
                    Err(_) => {}
                }
            };
            match frame {
                Some(Frame { kind: FrameKind::Response, id, payload }) => {
                    // Whoever asked may have given up.
                    if let Some((_, answer)) = lock(&waiting).remove(&id) {
                        drop(answer.send(Ok(payload)));
                    }
                }
                Some(Frame { kind: FrameKind::Refusal, payload, .. }) => return Err(refused(&payload)),
                Some(Frame { kind: FrameKind::Request, .. }) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a request where answers come"));
                }
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    };
    let ended: io::Result<()> = tokio::select! {
        // The first call is among those that wait before anything is read: it is told why there is no answer.
        biased;
        ended = write => ended,
        ended = read => ended,
    };
    let reason: Arc<str> = match &ended {
        Ok(()) => "the client is closing".into(),
        Err(error) => error.to_string().into(),
    };
    for (_, (_, answer)) in std::mem::take(&mut *lock(&waiting)) {
        drop(answer.send(Err(Failure { reason: Arc::clone(&reason), may_have_arrived: true })));
    }
    ended
}

/// Whether nothing was read for so long, and somebody has waited for an answer as long.
fn is_silent(waiting: &BTreeMap<u64, (Instant, Answer)>, since: Instant, silence: Duration) -> bool {
    let oldest = waiting.values().next().map(|(asked, _)| *asked);
    since.elapsed() >= silence && oldest.is_some_and(|asked| asked.elapsed() >= silence)
}

/// How long a connection may give no answer to what was asked before it is taken for dead.
fn silence(lane: PeerLane) -> Duration {
    match lane {
        // Longer than a peer takes to say that it cannot go on.
        PeerLane::Control => Duration::from_secs(7),
        // A peer whose disk is slow answers late.
        PeerLane::Data => Duration::from_secs(10),
        // A state is large, and is taken over before it is answered.
        PeerLane::Snapshot => Duration::from_secs(90),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the other side says of why it does not go on.
fn refused(said: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(&said[..said.len().min(REFUSAL_BYTES_MAX)]);
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    io::Error::new(io::ErrorKind::PermissionDenied, format!("it refuses this node: {said}"))
}

fn timed_out() -> HelloError {
    HelloError::Io(io::ErrorKind::TimedOut.into())
}

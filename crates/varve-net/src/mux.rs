//! The listener and its accept loop.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, Stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use varve_env::Burst;
use varve_env::net::{BoxStream, Listener};
use varve_tls::ServerTls;

use crate::connection::Places;
use crate::protocol::Protocol;
use crate::stats::{ConnectionStats, Refusal};
use crate::tell::{Stranger, Told, tell};
use crate::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, Connection, MuxLimits};

/// How many connections that were told apart wait to be taken. The others stay pending.
const READY_MAX: usize = 16;

/// How many peers in a row may break off before they are accepted. More look like a fault of the listener itself.
const BROKEN_PEERS_MAX: u32 = 64;

/// A connection and what it speaks.
#[derive(Debug)]
pub struct Incoming {
    /// What it speaks.
    pub protocol: Protocol,
    /// The connection, with every byte that was read put back.
    pub connection: Connection,
}

/// Accepts connections on one port and tells apart what they speak: a stream of [`Incoming`].
///
/// Dropped, it stops to listen, and closes the connections that have not been told apart; the others live on.
#[derive(Debug)]
pub struct Mux {
    ready: mpsc::Receiver<Incoming>,
    local_addr: SocketAddr,
    close: CancellationToken,
    accepting: AbortHandle,
    stats: ConnectionStats,
}

impl Mux {
    /// Begins to accept: with `tls` nothing but TLS. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start(listener: Box<dyn Listener>, limits: MuxLimits, tls: Option<ServerTls>) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        let (close, stats) = (CancellationToken::new(), ConnectionStats::default());
        let acceptor = Acceptor {
            limits,
            tls,
            strangers: Arc::default(),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            client_places: Arc::new(Semaphore::new(limits.clients_max())),
            ready: sender,
            close: close.clone(),
            stats: stats.clone(),
        };
        let accepting = varve_env::spawn_task(acceptor.run(listener)).abort_handle();
        Ok(Self { ready, local_addr, close, accepting, stats })
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many connections there are, and were turned away.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.stats.clone()
    }

    /// Cancelled, it closes every connection, those handed on too.
    #[must_use]
    pub fn close_token(&self) -> CancellationToken {
        self.close.clone()
    }
}

impl Stream for Mux {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.get_mut().ready.poll_recv(cx)
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Acceptor {
    limits: MuxLimits,
    tls: Option<ServerTls>,
    /// Connections that were not taken: a few lines for however many.
    strangers: Arc<Mutex<Burst>>,
    places: Arc<Semaphore>,
    client_places: Arc<Semaphore>,
    ready: mpsc::Sender<Incoming>,
    close: CancellationToken,
    stats: ConnectionStats,
}

impl Acceptor {
    /// Accepts for ever: nothing that a peer or the system does ends this loop.
    async fn run(self, listener: Box<dyn Listener>) {
        let mut pending = Pending::new(self.limits.pending_max, self.stats.clone());
        let mut refused = Burst::default();
        let mut failed = Burst::default();
        let mut backoff = ACCEPT_BACKOFF_MIN;
        let mut broken_peers = 0;
        loop {
            match listener.accept().await {
                Ok((stream, peer_addr)) => {
                    (backoff, broken_peers) = (ACCEPT_BACKOFF_MIN, 0);
                    pending.make_room().await;
                    // Whoever is being told apart has a place among the pending ones, and takes none from nodes.
                    if self.places.available_permits() == 0 {
                        self.stats.refuse(Refusal::Limit);
                        report_refused(&mut refused, peer_addr, self.limits.connections_max);
                    } else {
                        pending.spawn(peer_addr, self.admit(stream, peer_addr));
                    }
                }
                // The peer gave up before it was accepted: nothing is wrong here.
                Err(e) if is_of_one_peer(&e) && broken_peers < BROKEN_PEERS_MAX => broken_peers += 1,
                Err(e) => {
                    report_failed(&mut failed, &e);
                    tokio::time::sleep(backoff).await;
                    backoff = next_backoff(backoff);
                }
            }
        }
    }

    /// Tells one connection apart and hands it on.
    fn admit(&self, stream: BoxStream, peer_addr: SocketAddr) -> impl Future<Output = ()> + Send + use<> {
        let limits = self.limits;
        let ready = self.ready.clone();
        let close = self.close.clone();
        let stats = self.stats.clone();
        let (tls, strangers) = (self.tls.clone(), Arc::clone(&self.strangers));
        let (all, clients) = (Arc::clone(&self.places), Arc::clone(&self.client_places));
        async move {
            let told = tokio::select! {
                biased;
                () = close.cancelled() => return,
                told = tell(stream, limits, tls.as_ref()) => told,
            };
            let Told { protocol, stream, security } = match told {
                Ok(told) => told,
                Err(stranger) => {
                    stats.refuse(Refusal::of(&stranger));
                    return report_stranger(&strangers, peer_addr, &stranger);
                }
            };
            let of_clients = match protocol {
                Protocol::Peer => Ok(None),
                Protocol::Http1 | Protocol::Http2 => clients.try_acquire_owned().map(Some),
            };
            let (Ok(of_all), Ok(of_clients)) = (all.try_acquire_owned(), of_clients) else {
                let full = Stranger::TooMany(limits.connections_max);
                stats.refuse(Refusal::Limit);
                return report_stranger(&strangers, peer_addr, &full);
            };
            let places = Places { _of_all: of_all, _of_clients: of_clients, _counted: stats.begin(protocol) };
            let connection = Connection::new(stream, peer_addr, security, close.cancelled_owned(), places);
            // Where nobody takes connections any more this one is closed.
            drop(ready.send(Incoming { protocol, connection }).await);
        }
    }
}

/// The connections that are being told apart.
struct Pending {
    max: usize,
    tasks: JoinSet<()>,
    /// Oldest first; those that are done are among them until somebody looks.
    by_age: VecDeque<(SocketAddr, AbortHandle)>,
    evicted: Burst,
    stats: ConnectionStats,
}

impl Pending {
    fn new(max: usize, stats: ConnectionStats) -> Self {
        let (tasks, by_age, evicted) = (JoinSet::new(), VecDeque::new(), Burst::default());
        Self { max: max.max(1), tasks, by_age, evicted, stats }
    }

    fn spawn(&mut self, peer_addr: SocketAddr, admission: impl Future<Output = ()> + Send + 'static) {
        self.by_age.push_back((peer_addr, self.tasks.spawn(admission.boxed())));
    }

    /// Sees to it that one more finds a place: where there is none, one that has not told what it speaks goes.
    /// Those who mean it do so at once, and are not held up by however many that do not.
    async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        if self.by_age.len() >= 2 * self.max {
            self.by_age.retain(|(_, task)| !task.is_finished());
        }
        while self.tasks.len() >= self.max {
            if let Some((peer_addr, task)) = self.next_to_go() {
                task.abort();
                self.stats.refuse(Refusal::Silent);
                if let Some(unreported) = self.evicted.note() {
                    let pending_max = self.max;
                    tracing::warn!(%peer_addr, pending_max, unreported, "connection closed: too many do not say what they speak");
                }
            }
            self.tasks.join_next().await;
        }
    }

    /// The oldest of the address that has most: those who send many are in each other's way rather than in that of others.
    fn next_to_go(&mut self) -> Option<(SocketAddr, AbortHandle)> {
        self.by_age.retain(|(_, task)| !task.is_finished());
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (peer_addr, _) in &self.by_age {
            *counts.entry(peer_addr.ip()).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        let place = self.by_age.iter().position(|(peer_addr, _)| counts[&peer_addr.ip()] == most)?;
        self.by_age.remove(place)
    }
}

/// Errors that accept(2) passes on from one connection that was already broken (its "Error handling"); the next may be
/// well.
fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::InvalidInput
    )
}

fn next_backoff(backoff: Duration) -> Duration {
    (backoff * 2).min(ACCEPT_BACKOFF_MAX)
}

fn report_refused(burst: &mut Burst, peer_addr: SocketAddr, connections_max: usize) {
    if let Some(unreported) = burst.note() {
        tracing::warn!(%peer_addr, connections_max, unreported, "connection refused: too many are open");
    }
}

/// Whoever merely says nothing, or went away, is no news.
fn report_stranger(strangers: &Mutex<Burst>, peer_addr: SocketAddr, stranger: &Stranger) {
    if stranger.is_silent() {
        tracing::debug!(%peer_addr, reason = %stranger, "connection closed");
    } else if let Some(unreported) = strangers.lock().unwrap_or_else(PoisonError::into_inner).note() {
        tracing::warn!(%peer_addr, reason = %stranger, unreported, "connection refused");
    }
}

fn report_failed(burst: &mut Burst, error: &io::Error) {
    if let Some(unreported) = burst.note() {
        tracing::error!(%error, unreported, "cannot accept connections; raise the limit of open files if it is reached");
    }
}

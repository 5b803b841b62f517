//! Real sockets between nodes that a test can cut.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::future::{BoxFuture, poll_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use varve_env::net::{BoxStream, Listener, Network, TcpNetwork};

/// The cables between nodes. While one is cut nothing moves on it and no connection breaks, as with a switch that has
/// failed: what was sent arrives when it is mended. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switchboard {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Which node listens where.
    ports: BTreeMap<u16, usize>,
    /// By the smaller and the larger number of its ends.
    cables: BTreeMap<(usize, usize), Arc<Cable>>,
}

#[derive(Debug, Default)]
struct Cable(Mutex<CableState>);

#[derive(Debug, Default)]
struct CableState {
    is_cut: bool,
    waiting: Vec<Waker>,
}

impl Switchboard {
    /// The network as one node sees it.
    pub(crate) fn network_of(&self, number: usize) -> Arc<dyn Network> {
        Arc::new(NodeNetwork { switchboard: self.clone(), number })
    }

    /// Cuts a node off from all others; clients reach it still.
    pub(crate) fn isolate(&self, number: usize, others: impl IntoIterator<Item = usize>) {
        others.into_iter().for_each(|other| self.cable(number, other).set_cut(true));
    }

    /// Mends every cable.
    pub(crate) fn heal(&self) {
        self.lock().cables.values().for_each(|cable| cable.set_cut(false));
    }

    fn cable(&self, one: usize, other: usize) -> Arc<Cable> {
        Arc::clone(self.lock().cables.entry((one.min(other), one.max(other))).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cable {
    fn set_cut(&self, is_cut: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_cut = is_cut;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// Ready while it is whole.
    fn poll_whole(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_cut {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

struct NodeNetwork {
    switchboard: Switchboard,
    number: usize,
}

impl fmt::Debug for NodeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeNetwork").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Network for NodeNetwork {
    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpNetwork.bind(addr).await?;
            self.switchboard.lock().ports.insert(listener.local_addr()?.port(), self.number);
            Ok(listener)
        })
    }

    fn connect(&self, host_port: String) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            let port = host_port.rsplit(':').next().and_then(|port| port.parse().ok());
            let other = port.and_then(|port: u16| self.switchboard.lock().ports.get(&port).copied());
            let other = other.ok_or(io::ErrorKind::ConnectionRefused)?;
            let cable = self.switchboard.cable(self.number, other);
            poll_fn(|cx| cable.poll_whole(cx)).await;
            let stream = TcpNetwork.connect(host_port).await?;
            Ok(Box::new(Plugged { stream, cable }) as BoxStream)
        })
    }
}

/// A connection over a cable.
struct Plugged {
    stream: BoxStream,
    cable: Arc<Cable>,
}

impl AsyncRead for Plugged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.cable.poll_whole(cx));
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plugged {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.cable.poll_whole(cx));
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

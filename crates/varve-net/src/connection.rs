//! A connection that was told apart.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::WaitForCancellationFutureOwned;
use varve_env::net::BoxStream;
use varve_tls::{PeerCertificate, Prefixed};

use crate::stats::Counted;

/// What is known of who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing: the connection is in the clear.
    Clear,
    /// The connection is encrypted.
    Tls {
        /// What the caller has shown; `None` where it has shown nothing.
        certificate: Option<PeerCertificate>,
    },
}

/// An accepted connection: a stream of bytes that begins with those that told what it speaks.
///
/// It holds one place among the open connections until it is dropped, and fails with `ConnectionAborted` once the
/// listener closes all of them.
pub struct Connection {
    stream: Prefixed<BoxStream>,
    peer_addr: SocketAddr,
    security: Security,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _places: Places,
}

/// What a connection holds while it is open.
pub(crate) struct Places {
    /// One among all.
    pub(crate) _of_all: OwnedSemaphorePermit,
    /// One among those that are not kept for peers.
    pub(crate) _of_clients: Option<OwnedSemaphorePermit>,
    /// One among those that are counted.
    pub(crate) _counted: Counted,
}

impl Connection {
    pub(crate) fn new(
        stream: Prefixed<BoxStream>,
        peer_addr: SocketAddr,
        security: Security,
        closed: WaitForCancellationFutureOwned,
        places: Places,
    ) -> Self {
        Self { stream, peer_addr, security, closed: Box::pin(closed), _places: places }
    }

    /// Who connected.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Whether it is encrypted, and what the caller has shown.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer_addr", &self.peer_addr).finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_closed(cx)?;
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

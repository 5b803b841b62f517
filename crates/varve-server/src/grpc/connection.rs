//! A connection, as tonic serves it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;
use varve_net::Connection;

use crate::limits::{CONNECTION_AGE_GRACE, SILENCE_MAX};
use crate::security::Caller;

/// A connection that speaks HTTP/2.
#[derive(Debug)]
pub(crate) struct GrpcConnection {
    connection: Connection,
    caller: Caller,
    /// When it ends, whatever is under way.
    end: Option<Pin<Box<Sleep>>>,
    /// When it ends unless the other side has said something.
    silence: Option<Pin<Box<Sleep>>>,
}

impl GrpcConnection {
    /// A connection of a caller. With `age_max` the server tells the caller after so long to go on over another one, and a while
    /// later it ends: streams may go on for ever, and certificates are looked at in handshakes alone.
    pub(crate) fn new(connection: Connection, caller: Caller, age_max: Option<Duration>) -> Self {
        let end = age_max.map(|age_max| Box::pin(sleep(age_max + CONNECTION_AGE_GRACE)));
        Self { connection, caller, end, silence: Some(Box::pin(sleep(SILENCE_MAX))) }
    }

    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready())
    }
}

impl Connected for GrpcConnection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for GrpcConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let read = Pin::new(&mut this.connection).poll_read(cx, buf);
        if read.is_ready() {
            this.silence = None;
        } else if this.silence.as_mut().is_some_and(|silence| silence.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for GrpcConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(cx)
    }
}

//! The TCP side of gossip, guarded: what a stranger can make the node do before its message is authenticated.
//!
//! The protocol's own reader trusts the first bytes of a connection: a first byte that is no encrypted message may send it into
//! a loop that never yields, and an encrypted message's length is allocated before one byte of it has come, up to 4 GiB. So the
//! header is read here first: anything but an encrypted message of a bounded length ends the connection. Connections under way
//! are bounded as well, and each ends after [`stream_timeout`](crate::GossipTiming::stream_timeout).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use memberlist_core::proto::{ProtoReader, ProtoWriter};
use memberlist_core::transport::Connection;
use serf::net::stream_layer::{Listener, PromisedStream, StreamLayer};
use serf::tokio::TokioRuntime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::foreign::KeyWatch;

/// Most bytes of one message over TCP. It holds all members' states, at most about 700 bytes each.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Most connections that others opened to this node at the same time. More wait in the kernel's queue.
pub(crate) const INCOMING_MAX: usize = 64;

/// What each message begins with here: a tag, the cipher, the length of what is encrypted (big endian).
pub(crate) const HEADER_BYTES: usize = 6;

/// The tag of an encrypted message.
pub(crate) const ENCRYPTED_TAG: u8 = 15;

/// TCP for gossip.
pub(crate) struct GuardedTcp {
    incoming: Arc<Semaphore>,
    keys: Arc<KeyWatch>,
}

impl StreamLayer for GuardedTcp {
    type Runtime = TokioRuntime;
    type Listener = GuardedListener;
    type Stream = GuardedStream;
    type Options = Arc<KeyWatch>;

    async fn new(keys: Arc<KeyWatch>) -> io::Result<Self> {
        Ok(Self { incoming: Arc::new(Semaphore::new(INCOMING_MAX)), keys })
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<GuardedStream> {
        GuardedStream::new(TcpStream::connect(addr).await?, None, self.keys.clone())
    }

    async fn bind(&self, addr: SocketAddr) -> io::Result<GuardedListener> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        Ok(GuardedListener { listener, local_addr, incoming: self.incoming.clone(), keys: self.keys.clone() })
    }

    fn is_secure() -> bool {
        // Messages are encrypted one by one, above this layer.
        false
    }
}

pub(crate) struct GuardedListener {
    listener: TcpListener,
    local_addr: SocketAddr,
    incoming: Arc<Semaphore>,
    keys: Arc<KeyWatch>,
}

impl Listener for GuardedListener {
    type Stream = GuardedStream;

    async fn accept(&self) -> io::Result<(GuardedStream, SocketAddr)> {
        let place = self.incoming.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = self.listener.accept().await?;
        Ok((GuardedStream::new(stream, Some(place), self.keys.clone())?, peer))
    }

    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    async fn shutdown(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct GuardedStream {
    reader: GuardedReader,
    writer: GuardedWriter,
    local_addr: SocketAddr,
    peer_addr: SocketAddr,
}

impl GuardedStream {
    /// One that was accepted has a place.
    fn new(stream: TcpStream, place: Option<OwnedSemaphorePermit>, keys: Arc<KeyWatch>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (local_addr, peer_addr) = (stream.local_addr()?, stream.peer_addr()?);
        let (reader, writer) = stream.into_split();
        let header = [0; HEADER_BYTES];
        let reader = GuardedReader { inner: reader, header, filled: 0, taken: 0, place, keys, peer_addr };
        Ok(Self { reader, writer: GuardedWriter(writer), local_addr, peer_addr })
    }
}

impl PromisedStream for GuardedStream {
    type Instant = <TokioRuntime as serf::agnostic::RuntimeLite>::Instant;

    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }
}

impl Connection for GuardedStream {
    type Reader = GuardedReader;
    type Writer = GuardedWriter;

    fn split(self) -> (GuardedReader, GuardedWriter) {
        (self.reader, self.writer)
    }

    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        ProtoReader::read(&mut self.reader, buf).await
    }

    async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        ProtoReader::read_exact(&mut self.reader, buf).await
    }

    async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.peek(buf).await
    }

    async fn peek_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.reader.peek_exact(buf).await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        ProtoWriter::write_all(&mut self.writer, payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        ProtoWriter::flush(&mut self.writer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.writer.close().await
    }
}

/// Reads one message, whose header it has looked at before anybody sees a byte.
pub(crate) struct GuardedReader {
    inner: OwnedReadHalf,
    header: [u8; HEADER_BYTES],
    /// How many bytes of the header have come.
    filled: usize,
    /// How many of them were read, and not only looked at.
    taken: usize,
    /// Its place among the incoming connections, if it is one.
    place: Option<OwnedSemaphorePermit>,
    keys: Arc<KeyWatch>,
    peer_addr: SocketAddr,
}

impl GuardedReader {
    /// Waits until the header is there and fit. A call that is dropped loses nothing.
    async fn check_header(&mut self) -> io::Result<()> {
        while self.filled < HEADER_BYTES {
            let came = self.inner.read(&mut self.header[self.filled..]).await?;
            if came == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += came;
            check(&self.header[..self.filled])?;
        }
        Ok(())
    }

    /// Reads what is left of the header.
    fn take_header(&mut self, buf: &mut [u8]) -> usize {
        let len = buf.len().min(HEADER_BYTES - self.taken);
        buf[..len].copy_from_slice(&self.header[self.taken..self.taken + len]);
        self.taken += len;
        len
    }
}

impl ProtoReader for GuardedReader {
    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.check_header().await?;
        match self.take_header(buf) {
            0 => self.inner.read(buf).await,
            len => Ok(len),
        }
    }

    async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.check_header().await?;
        let len = self.take_header(buf);
        self.inner.read_exact(&mut buf[len..]).await?;
        // The protocol reads all that is encrypted in one piece.
        if len == 0 {
            self.keys.look(self.peer_addr, self.place.is_none(), buf);
        }
        Ok(())
    }

    async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.check_header().await?;
        let header = &self.header[self.taken..];
        let len = buf.len().min(header.len());
        buf[..len].copy_from_slice(&header[..len]);
        Ok(len)
    }

    async fn peek_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        match self.peek(buf).await? {
            len if len == buf.len() => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "only a message's header can be looked at ahead",
            )),
        }
    }
}

/// Refuses a header as soon as what came of it cannot be one of an encrypted message of a bounded length.
pub(crate) fn check(header: &[u8]) -> io::Result<()> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if header.first().is_some_and(|tag| *tag != ENCRYPTED_TAG) {
        return refuse("gossip: a peer's message is not encrypted");
    }
    if let [_, _, a, b, c, d] = *header
        && u32::from_be_bytes([a, b, c, d]) as usize > MESSAGE_BYTES_MAX
    {
        return refuse("gossip: a peer's message is too long");
    }
    Ok(())
}

pub(crate) struct GuardedWriter(OwnedWriteHalf);

impl ProtoWriter for GuardedWriter {
    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        AsyncWriteExt::write_all(&mut self.0, payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        AsyncWriteExt::flush(&mut self.0).await
    }
}

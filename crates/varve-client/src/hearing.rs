//! What a connection is told of TLS after it was made.
//!
//! HTTP/2 keeps of a broken connection hardly more than that it broke. So what it was told is heard here, on its way there.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use varve_env::net::BoxStream;
use varve_tls::HandshakeError;

/// What TLS begins an alert with: its type, and the major version (RFC 8446, section 5.1). As an HTTP/2 frame that would have
/// more than a megabyte, which no server begins with.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

/// What our servers tell an HTTP/2 client in the clear, as far as its debug data: no settings, and a GOAWAY for
/// INADEQUATE_SECURITY (RFC 9113, section 7). Its length is left out.
const GOAWAY: u8 = 7;
const INADEQUATE_SECURITY: [u8; 4] = [0, 0, 0, 0x0c];
const SETTINGS_BYTES: usize = 9;
const CODE_AT: usize = SETTINGS_BYTES + 9 + 4;

/// How much of what a server said before it closed is looked at.
const LAST_WORDS_BYTES: usize = 64;

/// Something that a server has said of TLS.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    /// It wants TLS, and was called in the clear.
    WantsTls,
    /// It gave up a connection that was made.
    GivenUp(HandshakeError),
}

/// What the connections to a server have heard last. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Word>>>);

impl Heard {
    pub(crate) fn last(&self) -> Option<Word> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new connection is made.
    pub(crate) fn forget(&self) {
        self.set(None);
    }

    fn set(&self, word: Option<Word>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }
}

/// A connection without TLS.
pub(crate) struct InClear {
    stream: BoxStream,
    heard: Heard,
    /// Whether nothing has come from the server yet.
    is_new: bool,
    /// A write that failed, until what the server said is heard.
    failed: Option<io::Error>,
}

impl InClear {
    pub(crate) fn new(stream: BoxStream, heard: Heard) -> Self {
        Self { stream, heard, is_new: true, failed: None }
    }
}

/// A connection with TLS.
pub(crate) struct UnderTls<S> {
    stream: S,
    heard: Heard,
}

impl<S> UnderTls<S> {
    pub(crate) fn new(stream: S, heard: Heard) -> Self {
        Self { stream, heard }
    }
}

impl InClear {
    /// Takes the first bytes that come.
    fn hear(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.is_new) && want_tls(bytes) {
            self.heard.set(Some(Word::WantsTls));
        }
    }

    /// Where a write fails, the server may have said why before it closed, and HTTP/2 would not read it: the failure comes when
    /// that is heard. A connection that is broken can be read to its end without waiting for anybody.
    fn fail(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.is_new {
            let mut bytes = [0; LAST_WORDS_BYTES];
            let mut buf = ReadBuf::new(&mut bytes);
            // Why it cannot be read either is no news.
            let _ = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            self.hear(buf.filled());
        }
        Poll::Ready(self.failed.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut BoxStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.failed.is_none() {
            match ready!(write(Pin::new(&mut self.stream), cx)) {
                Ok(bytes) => return Poll::Ready(Ok(bytes)),
                Err(error) => self.failed = Some(error),
            }
        }
        self.fail(cx).map(Err)
    }
}

/// Whether these, the first bytes of a server that is spoken to in the clear, say that it wants TLS.
fn want_tls(first: &[u8]) -> bool {
    let is_goaway = first.get(SETTINGS_BYTES + 3) == Some(&GOAWAY);
    let code = first.get(CODE_AT..CODE_AT + INADEQUATE_SECURITY.len());
    first.starts_with(TLS_ALERT) || (is_goaway && code == Some(&INADEQUATE_SECURITY))
}

impl AsyncRead for InClear {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.hear(&buf.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for UnderTls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read
            && let Some(reason) = HandshakeError::of_io(error)
        {
            self.heard.set(Some(Word::GivenUp(reason)));
        }
        read
    }
}

impl AsyncWrite for InClear {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UnderTls<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::want_tls;

    #[test]
    fn only_who_wants_tls_is_heard_to_want_it() {
        assert!(want_tls(&[0x15, 3, 3, 0, 2, 2, 70]));
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let goaway =
            |code: u8| [&settings[..], &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, code]].concat();
        assert!(want_tls(&goaway(0x0c)));
        assert!(!want_tls(&goaway(0)));
        assert!(!want_tls(&settings));
        assert!(!want_tls(b"HTTP/1.1 400"));
        assert!(!want_tls(b""));
    }
}

//! Connections to servers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use varve_api::error::{ApiError, Reason};
use varve_env::Blocking;
use varve_env::net::{BoxStream, Network};
use varve_tls::{ClientTls, HandshakeError};

use crate::ClientBuilder;
use crate::hearing::{Heard, InClear, UnderTls};

/// What one stream may have on its way to us, in bytes: enough for a fast read over a long line.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// What all streams of a connection may have on their way to us, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
/// Largest frame that a server may send, in bytes. Batches come in frames as large as themselves, which more than doubles
/// the rate of a read on loopback against HTTP/2's 16 KiB.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;
/// How often a silent connection with calls under way is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the answer to that may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel to one server, which connects when it is first used and again whenever the connection is lost, and what its
/// connections have heard of TLS. `authority` is what the user calls the server: it differs from the address where a name was
/// looked up, and is what the server's certificate has to name.
///
/// # Errors
/// If the address is none.
pub(crate) fn open(
    addr: &str,
    authority: &str,
    options: &ClientBuilder,
) -> Result<(Channel, Heard), ApiError> {
    let bad_addr = || ApiError::new(Reason::Unreachable, format!("server address {addr:?} is not host:port"));
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let origin: Uri = format!("{scheme}://{authority}").parse().map_err(|_| bad_addr())?;
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| bad_addr())?;
    let endpoint = endpoint
        .origin(origin)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);

    let heard = Heard::default();
    let way = Way {
        addr: addr.to_owned(),
        authority: authority.to_owned(),
        timeout: options.connect_timeout,
        network: options.env.network.clone(),
        blocking: options.env.blocking,
        tls: options.tls.clone(),
        heard: heard.clone(),
    };
    let connector = tower::service_fn(move |_: Uri| way.clone().connect());
    Ok((endpoint.connect_with_connector_lazy(connector), heard))
}

/// All that it takes to connect.
#[derive(Clone)]
struct Way {
    addr: String,
    authority: String,
    timeout: Duration,
    network: Arc<dyn Network>,
    blocking: Blocking,
    tls: Option<ClientTls>,
    heard: Heard,
}

impl Way {
    /// Connects within the timeout, the handshake included. The timeout is ours, not the endpoint's, so that tonic reports it as
    /// a failed connection (nothing was sent) and not as one that may have carried the call.
    fn connect(self) -> BoxFuture<'static, io::Result<TokioIo<BoxStream>>> {
        Box::pin(async move {
            let connected = tokio::time::timeout(self.timeout, self.connect_once()).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        })
    }

    async fn connect_once(&self) -> io::Result<BoxStream> {
        self.heard.forget();
        let stream = self.network.connect(self.addr.clone()).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(InClear::new(stream, self.heard.clone()))) };
        reload(self.blocking, tls.clone()).await;
        let stream = tls.connect(&self.authority, stream).await.map_err(no_handshake)?;
        Ok(Box::new(UnderTls::new(stream, self.heard.clone())))
    }
}

/// Reads the files again, so that a client that lives long shows the certificate of today. One that is wrong is no reason to
/// leave those of before.
async fn reload(blocking: Blocking, tls: ClientTls) {
    if let Err(error) = blocking.run(move || tls.reload()).await {
        tracing::warn!(%error, "the files for TLS cannot be read anew, and stay as they were");
    }
}

/// A server that goes away in the middle of a handshake has not said why.
fn no_handshake(error: HandshakeError) -> io::Error {
    use io::ErrorKind as Kind;
    match &error {
        HandshakeError::Io { source }
            if matches!(source.kind(), Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe) =>
        {
            io::Error::new(source.kind(), "it closed the connection during the TLS handshake")
        }
        _ => error.into_io(),
    }
}

//! Connections to servers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use varve_api::error::{ApiError, Reason};
use varve_env::net::{BoxStream, Network};

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

/// A channel to one server, which connects when it is first used and again whenever the connection is lost. `authority` is
/// what the user calls the server: it differs from the address where a name was looked up.
///
/// # Errors
/// If the address is none.
pub(crate) fn open(
    addr: &str,
    authority: &str,
    connect_timeout: Duration,
    network: &Arc<dyn Network>,
) -> Result<Channel, ApiError> {
    let bad_addr =
        |_| ApiError::new(Reason::Unreachable, format!("server address {addr:?} is not host:port"));
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(bad_addr)?;
    let endpoint = endpoint
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);

    let network = network.clone();
    let host_port = addr.to_owned();
    let connector =
        tower::service_fn(move |_: Uri| connect(network.clone(), host_port.clone(), connect_timeout));
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Connects within the timeout. The timeout is ours, not the endpoint's, so that tonic reports it as a failed connection
/// (nothing was sent) and not as one that may have carried the call.
fn connect(
    network: Arc<dyn Network>,
    host_port: String,
    timeout: Duration,
) -> BoxFuture<'static, io::Result<TokioIo<BoxStream>>> {
    Box::pin(async move {
        let connected = tokio::time::timeout(timeout, network.connect(host_port)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
    })
}

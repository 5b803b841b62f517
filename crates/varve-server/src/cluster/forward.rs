//! Calls handed on to the node that can serve them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tonic::Request;
use tonic::codegen::http::Uri;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use varve_api::error::{ApiError, Reason};
use varve_api::headers;
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::log_v1::log_client::LogClient;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::net::{BoxStream, Network};

use crate::limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, KEEPALIVE_BETWEEN_NODES, STREAM_WINDOW_BYTES};

/// How long a connection to another node may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most nodes that connections are kept to.
const CHANNELS_MAX: usize = 1024;

/// Reaches the services of other nodes, over one connection to each. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Forwarder {
    network: Arc<dyn Network>,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

impl Forwarder {
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, channels: Arc::default() }
    }

    /// The log service of the node at an address.
    pub(crate) fn log(&self, addr: &str) -> Result<LogServiceClient<Channel>, ApiError> {
        let client = LogServiceClient::new(self.channel(addr)?);
        let client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(client.max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The cluster service of the node at an address.
    pub(crate) fn cluster(&self, addr: &str) -> Result<ClusterServiceClient<Channel>, ApiError> {
        Ok(ClusterServiceClient::new(self.channel(addr)?).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The book's service of the node at an address.
    pub(crate) fn book(&self, addr: &str) -> Result<LogClient<Channel>, ApiError> {
        Ok(LogClient::new(self.channel(addr)?).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn channel(&self, addr: &str) -> Result<Channel, ApiError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(addr) {
            return Ok(channel.clone());
        }
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let channel = self.open(addr)?;
        channels.insert(addr.to_owned(), channel.clone());
        Ok(channel)
    }

    fn open(&self, addr: &str) -> Result<Channel, ApiError> {
        let no_address =
            |_| ApiError::new(Reason::Internal, format!("a node's address is {addr:?}, which is none"));
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(no_address)?;
        let endpoint = endpoint
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(KEEPALIVE_BETWEEN_NODES)
            .keep_alive_timeout(KEEPALIVE_BETWEEN_NODES);
        let (network, addr) = (Arc::clone(&self.network), addr.to_owned());
        let connector = tower::service_fn(move |_: Uri| connect(Arc::clone(&network), addr.clone()));
        Ok(endpoint.connect_with_connector_lazy(connector))
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

/// A request that is not handed on a second time.
pub(crate) fn unforwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(headers::FORWARD, MetadataValue::from_static(headers::FORWARD_NEVER));
    request
}

/// The same, with an end to how long it may take.
pub(crate) fn unforwarded_for<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = unforwarded(message);
    request.set_timeout(timeout);
    request
}

/// Whether a call may be handed on, as its caller says.
pub(crate) fn may_forward(metadata: &MetadataMap) -> bool {
    metadata.get(headers::FORWARD).is_none_or(|value| value != headers::FORWARD_NEVER)
}

fn connect(network: Arc<dyn Network>, addr: String) -> BoxFuture<'static, io::Result<TokioIo<BoxStream>>> {
    async move {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, network.connect(addr)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
    }
    .boxed()
}

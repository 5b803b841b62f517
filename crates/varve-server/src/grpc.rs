//! The gRPC services: calls in, what a partition takes; its answers and errors, out.
//!
//! - `admission`: how many single appends may be on their way in; `arriving`: how many in streams.
//! - `intake`: a produce request as a batch for a partition; `pipeline`: many of them in one stream.
//!   `in_flight`: how much of both may be without an answer.
//! - `session`: a read, from a start to its bounds; `follow`: one that is streamed; `read_ahead`: how much they all hold.
//! - `route`: which node serves a call; `relay`: a produce stream handed on.
//! - `servers`: who is there, as it changes; `describe`, `health_report`, `lagging`: what is told of topics and the cluster.
//! - `door`: what is answered before the node has its place in a cluster.
//! - `log_service`, `cluster_service`, `book_service`, `debug_service`: the calls themselves, thin.

mod admission;
mod arriving;
mod book_service;
mod cluster_service;
mod connection;
mod convert;
mod debug_service;
mod describe;
mod door;
mod follow;
mod health;
mod health_report;
mod in_flight;
mod intake;
mod lagging;
mod log_service;
mod pipeline;
mod read_ahead;
mod relay;
mod route;
mod servers;
mod session;
mod settings;
mod workshop;

pub(crate) use connection::GrpcConnection;
pub(crate) use debug_service::DebugApi;
pub(crate) use door::{Door, InitRequests};
pub(crate) use health::Health;
pub(crate) use in_flight::InFlight;
pub(crate) use read_ahead::ReadAhead;
pub(crate) use servers::Servers;
pub(crate) use workshop::Workshop;

use tonic::service::Routes;
use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::log_v1::log_server::LogServer;
use varve_api::v1::cluster_service_server::ClusterServiceServer;
use varve_api::v1::debug_service_server::DebugServiceServer;
use varve_api::v1::log_service_server::LogServiceServer;
use varve_env::Env;
use varve_telemetry::Telemetry;

use self::admission::{Admission, Room};
use crate::SecurityConfig;
use crate::cluster::{ClusterView, Forwarder};
use crate::drain::Drain;
use crate::http::{Pages, PagesLayer};
use crate::limits::{
    CALLS_PER_CONNECTION_MAX, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEADERS_BYTES_MAX, KEEPALIVE,
    OPEN_REQUEST_BYTES_MAX, PRODUCE_BYTES_ARRIVING_MAX, REQUEST_BYTES_MAX, STREAM_BYTES_ARRIVING_MAX,
    STREAM_WINDOW_BYTES,
};
use crate::security::{GuardLayer, Security};
use crate::telemetry::{OpenStreams, RpcLayer, RpcMetrics};
use crate::topics::{ProducerIds, Topics};

/// What the services share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) workshop: Workshop,
    pub(crate) topics: Topics,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) view: ClusterView,
    pub(crate) servers: Servers,
    pub(crate) forwarder: Forwarder,
    pub(crate) drain: Drain,
    /// Bytes of batches of all callers that are not yet answered.
    pub(crate) room: InFlight,
    /// What consume streams have read ahead.
    pub(crate) read_ahead: ReadAhead,
    /// The streams that are open.
    pub(crate) streams: OpenStreams,
    /// Whom calls are told to.
    pub(crate) calls: RpcMetrics,
}

/// What stands before every service, the innermost first.
pub(crate) type Layers = Stack<GuardLayer, Stack<RpcLayer, Stack<PagesLayer, Identity>>>;

/// What is served from the first moment: health, and what services there are.
pub(crate) fn outside(health: &Health) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(varve_api::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?
        .max_decoding_message_size(OPEN_REQUEST_BYTES_MAX);
    Ok(Routes::new(health.service()).add_service(reflection))
}

/// The services of a node that has its place in a cluster.
pub(crate) fn routes(shared: &Shared, debug: DebugApi) -> Routes {
    let log = LogServiceServer::new(log_service::LogApi::new(shared.clone()));
    let cluster = ClusterServiceServer::new(cluster_service::ClusterApi::new(shared.clone()));
    let book = LogServer::new(book_service::BookApi::new(shared.clone()));
    let arriving = Room::new(PRODUCE_BYTES_ARRIVING_MAX, STREAM_BYTES_ARRIVING_MAX);
    Routes::new(Admission::new(log.max_decoding_message_size(MESSAGE_BYTES_MAX), &arriving))
        .add_service(Admission::new(cluster.max_decoding_message_size(REQUEST_BYTES_MAX), &arriving))
        .add_service(DebugServiceServer::new(debug).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(Admission::new(book.max_decoding_message_size(MESSAGE_BYTES_MAX), &arriving))
        .prepare()
}

/// A server with every limit said, rather than left to what the library thinks. In the clear a connection lives as long as it
/// likes.
pub(crate) fn server(
    security: Option<&Security>,
    config: Option<&SecurityConfig>,
    calls: &RpcMetrics,
    telemetry: &Telemetry,
    pages: Pages,
) -> Server<Layers> {
    let server = match config {
        // Its grace does not go with that: the connection ends itself (`GrpcConnection`).
        Some(config) => Server::builder().max_connection_age(config.connection_age_max),
        None => Server::builder(),
    };
    server
        .layer(PagesLayer(pages))
        .layer(RpcLayer::new(calls.clone()))
        .layer(GuardLayer::new(security.map(|security| security.authorizer.clone()), telemetry))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_adaptive_window(Some(false))
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

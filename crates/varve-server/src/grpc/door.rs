//! What is answered before the node has its place in a cluster: that it has none yet, and the request to make a cluster.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, Service, StdError};
use tonic::server::{Grpc, UnaryService};
use tonic::service::Routes;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;

use crate::cluster::InitAsked;

/// The one call that a node without a place takes.
const INIT_CLUSTER: &str = "/varve.v1.ClusterService/InitCluster";

/// Requests to make a cluster that wait.
const INIT_REQUESTS_MAX: usize = 4;

/// Requests to make a cluster, for whoever looks for the node's place.
pub(crate) type InitRequests = mpsc::Receiver<InitAsked>;

/// Lets calls through once the node serves. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    inside: Arc<OnceLock<Routes>>,
    placed: Arc<AtomicBool>,
    init: mpsc::Sender<InitAsked>,
}

impl Door {
    /// A door that is shut, and what is asked at it.
    pub(crate) fn new() -> (Self, InitRequests) {
        let (init, requests) = mpsc::channel(INIT_REQUESTS_MAX);
        (Self { inside: Arc::default(), placed: Arc::default(), init }, requests)
    }

    /// The node has its place, and waits for the controller before it serves.
    pub(crate) fn placed(&self) {
        self.placed.store(true, Ordering::Relaxed);
    }

    /// Lets calls through from now on.
    pub(crate) fn open(&self, routes: Routes) {
        // It is opened once: a node's place never changes while it runs.
        drop(self.inside.set(routes));
    }

    /// `outside`, which is always served, with all else behind the door.
    pub(crate) fn behind(self, mut outside: Routes) -> Routes {
        let router = outside.axum_router_mut();
        *router = std::mem::take(router).fallback_service(self);
        outside
    }
}

impl<B> Service<Request<B>> for Door
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(Body::new);
        if let Some(inside) = self.inside.get() {
            return Box::pin(inside.clone().call(request));
        }
        let (init, placed) = (self.init.clone(), self.placed.load(Ordering::Relaxed));
        async move {
            Ok(match request.uri().path() {
                INIT_CLUSTER => {
                    Grpc::new(tonic_prost::ProstCodec::default()).unary(Init(init), request).await
                }
                _ if placed => Status::from(starting()).into_http(),
                _ => Status::from(not_initialized()).into_http(),
            })
        }
        .boxed()
    }
}

/// Passes a request to make a cluster on, and waits for what comes of it.
struct Init(mpsc::Sender<InitAsked>);

impl UnaryService<v1::InitClusterRequest> for Init {
    type Response = v1::InitClusterResponse;
    type Future = BoxFuture<'static, Result<tonic::Response<v1::InitClusterResponse>, Status>>;

    fn call(&mut self, _request: tonic::Request<v1::InitClusterRequest>) -> Self::Future {
        let init = self.0.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            // Where nobody looks for a place any more, this node has one, or stops.
            drop(init.send(InitAsked { answer }).await);
            let taken =
                |_| ApiError::new(Reason::NotInitialized, "this server is taking its place: ask again");
            let cluster_id = answered.await.map_err(taken).and_then(|answer| answer).map_err(Status::from)?;
            Ok(tonic::Response::new(v1::InitClusterResponse { cluster_id }))
        }
        .boxed()
    }
}

fn starting() -> ApiError {
    let message = "this server is starting: it waits for the controller's leader, which a majority of the controller's voters elects";
    ApiError::new(Reason::NoLeader, message)
}

fn not_initialized() -> ApiError {
    let message = "this server has no place in a cluster yet: it joins one that it finds, or makes one when told to (varve cluster init)";
    ApiError::new(Reason::NotInitialized, message)
}

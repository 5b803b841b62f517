//! What is served over HTTP: probes and metrics, on the one port (by HTTP/1, and by HTTP/2 beside gRPC) and on the operations listener.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::Service;
use tower::Layer;
use varve_authz::{Action, Authorizer, Object};
use varve_env::net::Listener;
use varve_env::{Blocking, Burst};
use varve_telemetry::Telemetry;

use crate::condition::{Checks, Condition};
use crate::security::Caller;

/// How long a connection may take to ask, the pause between two scrapes included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);

/// How long one request may take to be answered, and its answer to be taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Connections of the operations listener at the same time.
const OPS_CONNECTIONS_MAX: usize = 64;

/// The pause after the operations listener could not accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The places of the operations listener's connections. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct OpsConnections(Arc<Semaphore>);

impl Default for OpsConnections {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OPS_CONNECTIONS_MAX)))
    }
}

impl OpsConnections {
    /// How many are taken.
    pub(crate) fn open(&self) -> usize {
        OPS_CONNECTIONS_MAX.saturating_sub(self.0.available_permits())
    }
}

/// What there is to be read. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) condition: Condition,
    pub(crate) telemetry: Telemetry,
    pub(crate) blocking: Blocking,
    /// Who decides about those who come by the one port, where it is encrypted.
    pub(crate) authorizer: Option<Authorizer>,
}

/// Who asks.
#[derive(Clone, Debug)]
enum Reader {
    /// Whoever reaches the operations listener.
    Operator,
    /// Somebody on the one port.
    Caller(Caller),
}

impl Pages {
    /// Serves a connection of the one port until it ends.
    pub(crate) async fn serve_caller(self, connection: impl AsyncRead + AsyncWrite + Unpin, caller: Caller) {
        self.serve(connection, Reader::Caller(caller)).await;
    }

    /// Serves the operations listener, for ever: in the clear, to whoever reaches it.
    pub(crate) async fn serve_operators(self, listener: Box<dyn Listener>, places: OpsConnections) {
        let mut failed = Burst::default();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // The semaphore is never closed.
                    let Ok(place) = Arc::clone(&places.0).acquire_owned().await else { return };
                    let pages = self.clone();
                    drop(varve_env::spawn_task(async move {
                        pages.serve(stream, Reader::Operator).await;
                        drop(place);
                    }));
                }
                Err(error) => {
                    if let Some(unreported) = failed.note() {
                        tracing::warn!(%error, unreported, "the operations listener cannot accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, connection: impl AsyncRead + AsyncWrite + Unpin, reader: Reader) {
        let pages = &self;
        let reader = &reader;
        let service = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(pages.answer(&request, reader).await)
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(connection), service);
        // How it ended is the caller's affair.
        drop(serving.await);
    }

    async fn answer<B>(&self, request: &Request<B>, reader: &Reader) -> Response<String> {
        let answer = async {
            match (request.method(), request.uri().path()) {
                (&Method::GET | &Method::HEAD, path) => self.page(path, reader).await,
                _ => text(StatusCode::METHOD_NOT_ALLOWED, "there is nothing here but to be read\n"),
            }
        };
        let late = |_| text(StatusCode::SERVICE_UNAVAILABLE, "it took too long\n");
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(late)
    }

    async fn page(&self, path: &str, reader: &Reader) -> Response<String> {
        let checks = self.condition.now();
        match path {
            "/livez" => probe(checks.is_alive(), &checks),
            "/readyz" => probe(checks.is_ready(), &checks),
            "/startupz" => probe(checks.has_started(), &checks),
            "/metrics" => match self.refusal(reader).await {
                None => self.metrics().await,
                Some(refusal) => refusal,
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /livez, /readyz, /startupz and /metrics; the log is served by gRPC, which needs HTTP/2\n",
            ),
        }
    }

    /// Why a reader may not see metrics: on the one port that is for those who may see how the cluster is.
    async fn refusal(&self, reader: &Reader) -> Option<Response<String>> {
        let Reader::Caller(caller) = reader else { return None };
        match (caller, &self.authorizer) {
            (Caller::Anyone, None) | (Caller::Node { .. }, _) => None,
            (Caller::Client { subject, .. }, Some(authorizer)) => {
                let decision = authorizer.decide(subject, Object::Cluster, Action::Describe).await;
                let refuse = || {
                    let message =
                        format!("{subject:?} may not {} the cluster: {}\n", Action::Describe, decision.basis);
                    text(StatusCode::FORBIDDEN, message)
                };
                (!decision.allowed).then(refuse)
            }
            (Caller::Nobody { why, .. }, _) => Some(text(StatusCode::UNAUTHORIZED, format!("{why}\n"))),
            (Caller::Client { .. } | Caller::Anyone, _) => {
                Some(text(StatusCode::FORBIDDEN, "nobody can say whether you may\n"))
            }
        }
    }

    async fn metrics(&self) -> Response<String> {
        let Some(exposition) = self.telemetry.exposition() else {
            return text(StatusCode::NOT_FOUND, "this server was started without metrics\n");
        };
        // Some of what is told is read from the kernel.
        match self.blocking.run(move || exposition.text()).await {
            Ok(metrics) => respond(StatusCode::OK, PROMETHEUS, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

/// Puts the pages before the services: by HTTP/2 they are asked for on the same connections. gRPC always posts.
#[derive(Clone, Debug)]
pub(crate) struct PagesLayer(pub(crate) Pages);

/// Services with the pages before them.
#[derive(Clone, Debug)]
pub(crate) struct Paged<S> {
    inner: S,
    pages: Pages,
}

impl<S> Layer<S> for PagesLayer {
    type Service = Paged<S>;

    fn layer(&self, inner: S) -> Paged<S> {
        Paged { inner, pages: self.0.clone() }
    }
}

impl<S> Service<Request<Body>> for Paged<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !matches!(request.method(), &Method::GET | &Method::HEAD) {
            return Either::Left(self.inner.call(request));
        }
        let pages = self.pages.clone();
        // Without one it did not come by a connection that anybody looked at.
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anyone);
        let (parts, _) = request.into_parts();
        Either::Right(Box::pin(async move {
            let request = Request::from_parts(parts, ());
            Ok(pages.answer(&request, &Reader::Caller(caller)).await.map(Body::new))
        }))
    }
}

/// Where the operations listener is, in words.
pub(crate) fn say_where(addr: SocketAddr) {
    tracing::info!(%addr, "probes and metrics are served in the clear");
    if !addr.ip().is_loopback() {
        tracing::info!(%addr, "whoever reaches that address reads how this server is: let no one but those who watch it");
    }
}

/// All checks, one a line, and by the status what comes of them.
fn probe(is_ok: bool, checks: &Checks) -> Response<String> {
    let mut body = String::new();
    for check in checks.checks() {
        let line = match check.problem() {
            None => writeln!(body, "[+] {}", check.name),
            Some(problem) => writeln!(body, "[-] {}: {problem}", check.name),
        };
        line.expect("a String takes everything");
    }
    body.push_str(if is_ok { "ok\n" } else { "not ok\n" });
    text(if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<String> {
    respond(status, TEXT, body.into())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use varve_authz::{Model, Policy};

    fn pages(policy: Option<&str>) -> Pages {
        let policy = policy.map(|text| Policy::parse(Model::default(), "policy.csv", text).unwrap());
        let authorizer = policy.map(|policy| Authorizer::new(policy, Blocking::Inline));
        Pages {
            condition: Condition::starting(),
            telemetry: Telemetry::off(),
            blocking: Blocking::Inline,
            authorizer,
        }
    }

    fn client(name: &str) -> Reader {
        Reader::Caller(Caller::Client {
            subject: name.into(),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        })
    }

    #[tokio::test]
    async fn on_the_one_port_metrics_are_for_those_who_may_describe_the_cluster() {
        let pages = pages(Some("p, watcher, *, describe\np, writer, *, produce\n"));
        let status = |reader: Reader| {
            let pages = pages.clone();
            async move { pages.refusal(&reader).await.map(|refusal| refusal.status().as_u16()) }
        };
        assert_eq!(status(client("watcher")).await, None);
        assert_eq!(status(client("stranger")).await, Some(403));
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let nobody = Caller::Nobody { why: "give a certificate".into(), addr };
        assert_eq!(status(Reader::Caller(nobody)).await, Some(401));
        assert_eq!(status(Reader::Caller(Caller::Anyone)).await, Some(403));
        assert_eq!(status(Reader::Operator).await, None);
    }

    #[tokio::test]
    async fn in_the_clear_they_are_for_anyone() {
        assert!(pages(None).refusal(&Reader::Caller(Caller::Anyone)).await.is_none());
    }

    #[tokio::test]
    async fn probes_say_what_is_wrong() {
        let pages = pages(None);
        let starting = pages.page("/readyz", &Reader::Operator).await;
        assert_eq!(starting.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(starting.body().starts_with("[-] placed: it is starting"), "{}", starting.body());
        assert_eq!(pages.page("/livez", &Reader::Operator).await.status(), StatusCode::OK);
        pages.condition.started();
        for probe in ["/readyz", "/startupz", "/livez"] {
            let answer = pages.page(probe, &Reader::Operator).await;
            assert!(answer.status() == StatusCode::OK && answer.body().ends_with("\nok\n"), "{probe}");
        }
        pages.condition.stopping();
        assert_eq!(pages.page("/readyz", &Reader::Operator).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(pages.page("/metrics", &Reader::Operator).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn by_http_2_pages_stand_before_the_services_and_posts_are_theirs() {
        let services = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::new("a service".to_owned())))
        });
        let status = |method: Method, path: &'static str| {
            let mut paged = PagesLayer(pages(None)).layer(services);
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            async move { paged.call(request).await.unwrap().status().as_u16() }
        };
        assert_eq!(status(Method::GET, "/livez").await, 200);
        assert_eq!(status(Method::GET, "/readyz").await, 503);
        assert_eq!(status(Method::GET, "/varve.v1.LogService/Produce").await, 404);
        assert_eq!(status(Method::POST, "/readyz").await, 200, "a service answered");
    }
}

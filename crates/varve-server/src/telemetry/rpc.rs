//! Every call, from outside.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Extensions, Request, Response};
use tonic::{Code, Status};
use tower::Layer;
use varve_api::error::{ApiError, Reason};
use varve_api::telling_its_end;
use varve_authz::RPCS;
use varve_env::Burst;
use varve_telemetry::{
    Counter, Histogram, KeyValue, Level, Span, SpanKind, Spans, Telemetry, TraceContext, catalogue,
};

use crate::security::Caller;

/// What a call is called that nobody here takes.
const OTHER: &str = "other";

/// Calls that wait for something to happen, or go on for ever, and are never slow.
const WAITING: [&str; 9] = [
    "varve.v1.LogService/Consume",
    "varve.v1.LogService/ConsumeStream",
    "varve.v1.LogService/ProduceStream",
    "varve.v1.ClusterService/InitCluster",
    "varve.v1.ClusterService/WatchServers",
    "log.v1.Log/ConsumeStream",
    "log.v1.Log/ProduceStream",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// The calls that bring and fetch records.
const DATA: [&str; 4] = [
    "varve.v1.LogService/Produce",
    "varve.v1.LogService/ProduceStream",
    "varve.v1.LogService/Consume",
    "varve.v1.LogService/ConsumeStream",
];

/// What is the cluster's fault and not the caller's. The alerts have the same list (`deploy/prometheus/varve.rules.yaml`).
const FAULTS: [Reason; 9] = [
    Reason::CommitUnknown,
    Reason::DataLoss,
    Reason::Deadline,
    Reason::DiskFull,
    Reason::Internal,
    Reason::NotInitialized,
    Reason::NoLeader,
    Reason::Overloaded,
    Reason::StorageStopped,
];

/// What calls are told to. A clone is another handle.
#[derive(Clone)]
pub(crate) struct RpcMetrics(Arc<Inner>);

struct Inner {
    duration: Histogram<f64>,
    active: Level,
    errors: Counter<u64>,
    spans: Spans,
    /// From when on a call is slow, if any is.
    slow: Option<Duration>,
    slow_told: Mutex<Burst>,
}

impl RpcMetrics {
    /// Calls that take longer than `slow` are logged.
    pub(crate) fn new(telemetry: &Telemetry, slow: Option<Duration>) -> Self {
        let errors = telemetry.counter(&catalogue::ERRORS);
        // A series that begins with its first error has no rate until the second.
        for (method, fault) in DATA.into_iter().flat_map(|method| FAULTS.map(|fault| (method, fault))) {
            errors.add(0, &[KeyValue::new("rpc.method", method), KeyValue::new("reason", fault.name())]);
        }
        Self(Arc::new(Inner {
            duration: telemetry.histogram(&catalogue::RPC_DURATION),
            active: telemetry.level(&catalogue::RPC_ACTIVE),
            errors,
            spans: telemetry.spans.clone(),
            slow,
            slow_told: Mutex::default(),
        }))
    }

    /// A batch of a stream was answered with an error, which the stream itself does not end with.
    pub(crate) fn batch_failed(&self, method: &'static str, error: &ApiError) {
        self.0.errors.add(1, &[KeyValue::new("rpc.method", method), reason(error)]);
    }

    /// Something in a call took so long.
    pub(crate) fn took(
        &self,
        method: &'static str,
        took: Duration,
        of: impl fmt::Display,
        trace: Option<TraceContext>,
    ) {
        let Some(slow) = self.0.slow.filter(|slow| took >= *slow) else { return };
        let told = self.0.slow_told.lock().unwrap_or_else(PoisonError::into_inner).note();
        if let Some(unreported) = told {
            let trace_id = trace.map(|trace| format!("{:032x}", trace.trace_id())).unwrap_or_default();
            tracing::warn!(
                target: "varve::slow", method, took_ms = took.as_millis() as u64, limit_ms = slow.as_millis() as u64, of = %of, trace_id, unreported,
                "slow request"
            );
        }
    }

    fn begin(&self, method: &'static str, parent: Option<TraceContext>, caller: Option<Caller>) -> InHand {
        self.0.active.add(1, &[KeyValue::new("rpc.method", method)]);
        let mut span = self.0.spans.begin(method, SpanKind::Server, parent);
        span.set(|| KeyValue::new("rpc.system.name", "grpc"));
        InHand { metrics: self.clone(), method, since: Instant::now(), span, caller, ended: false }
    }
}

impl fmt::Debug for RpcMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcMetrics").field("slow", &self.0.slow).finish_non_exhaustive()
    }
}

fn reason(error: &ApiError) -> KeyValue {
    KeyValue::new("reason", error.reason.name())
}

/// A call that is under way.
struct InHand {
    metrics: RpcMetrics,
    method: &'static str,
    since: Instant,
    span: Span,
    caller: Option<Caller>,
    ended: bool,
}

impl InHand {
    /// It ended so.
    fn end(&mut self, status: &Status) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Inner { duration, errors, .. } = &*self.metrics.0;
        let took = self.since.elapsed();
        let method = KeyValue::new("rpc.method", self.method);
        let code = code_name(status.code());
        duration
            .record(took.as_secs_f64(), &[method.clone(), KeyValue::new("rpc.response.status_code", code)]);
        self.span.set(|| KeyValue::new("rpc.response.status_code", code));
        // To go away from what waits, or from a stream, is no error, nor is a connection that breaks under it: as UNKNOWN it comes
        // from the transport: a service says that of single calls alone.
        let has_left =
            matches!(status.code(), Code::Cancelled | Code::Unknown) && WAITING.contains(&self.method);
        if status.code() != Code::Ok && !has_left {
            let error = ApiError::from_status(status);
            errors.add(1, &[method, reason(&error)]);
            self.span.fail(|| status.message().to_owned());
        }
        if !WAITING.contains(&self.method) {
            self.metrics.took(self.method, took, Of(self.caller.as_ref()), self.span.context());
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        // Whoever asked went away before it was answered.
        self.end(&Status::cancelled("the caller went away"));
        self.metrics.0.active.add(-1, &[KeyValue::new("rpc.method", self.method)]);
    }
}

/// Who asked.
struct Of<'a>(Option<&'a Caller>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Caller::Client { subject, addr } | Caller::Node { subject, addr, .. }) => {
                write!(f, "{subject} at {addr}")
            }
            Some(Caller::Nobody { addr, .. }) => write!(f, "nobody at {addr}"),
            Some(Caller::Anyone) | None => f.write_str("anyone"),
        }
    }
}

/// As `google.rpc.Code` has it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn method_of(path: &str) -> &'static str {
    let method = path.strip_prefix('/').unwrap_or(path);
    RPCS.iter().find(|rule| rule.method == method).map_or(OTHER, |rule| rule.method)
}

/// Puts the measuring before a service.
#[derive(Clone, Debug)]
pub(crate) struct RpcLayer(RpcMetrics);

impl RpcLayer {
    pub(crate) fn new(metrics: RpcMetrics) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, metrics: self.0.clone() }
    }
}

/// A service that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured<S> {
    inner: S,
    metrics: RpcMetrics,
}

impl<S> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let parent = request.headers().get(TraceContext::NAME);
        let parent = parent.and_then(|value| TraceContext::parse(value.as_bytes()));
        let caller = request.extensions().get::<Caller>().cloned();
        let mut call = self.metrics.begin(method_of(request.uri().path()), parent, caller);
        note_trace(request.extensions_mut(), call.span.context());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(status) = Status::from_header_map(response.headers()) {
                call.end(&status);
                return Ok(response);
            }
            Ok(response.map(|body| telling_its_end(body, move |status| call.end(status))))
        })
    }
}

/// The trace that a call is in.
#[derive(Clone, Copy, Debug)]
struct InTrace(TraceContext);

fn note_trace(extensions: &mut Extensions, trace: Option<TraceContext>) {
    if let Some(trace) = trace {
        // There was none: nobody else makes them.
        extensions.insert(InTrace(trace));
    }
}

/// The trace that a call is in, if that is recorded.
pub(crate) fn trace_of(extensions: &Extensions) -> Option<TraceContext> {
    extensions.get::<InTrace>().map(|trace| trace.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that everybody is given.
    const RULES: &str = include_str!("../../../../deploy/prometheus/varve.rules.yaml");

    #[test]
    fn what_is_the_clusters_fault_is_what_the_rules_take_for_it() {
        let mut names = FAULTS.map(Reason::name);
        names.sort_unstable_by_key(|name| name.replace('_', "~"));
        assert!(RULES.contains(&format!("reason=~\"{}\"", names.join("|"))), "{names:?}");
    }

    #[test]
    fn calls_that_begin_with_nothing_wrong_are_calls() {
        assert!(DATA.iter().all(|method| method_of(method) == *method), "{DATA:?}");
    }
}

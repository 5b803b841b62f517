//! Calls within traces.

use futures::future::{BoxFuture, Either, FutureExt};
use http::{HeaderName, HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::Service;
use varve_api::telling_its_end;
use varve_telemetry::{KeyValue, Span, SpanKind, Spans, TraceContext};

/// A call on its way: as the channel makes it, or with a span around it.
pub(crate) type Call = Either<
    <Channel as Service<Request<Body>>>::Future,
    BoxFuture<'static, Result<Response<Body>, tonic::transport::Error>>,
>;

/// Makes a call, within a span where one is recorded: it lasts until the answer has ended, and the server's is part of it.
pub(crate) fn call(channel: &mut Channel, spans: &Spans, mut request: Request<Body>) -> Call {
    let span = begin(spans, &request);
    let Some(header) = span.context().and_then(|context| context.to_traceparent().parse().ok()) else {
        return Either::Left(channel.call(request));
    };
    let header: HeaderValue = header;
    request.headers_mut().insert(HeaderName::from_static(TraceContext::NAME), header);
    let answer = channel.call(request);
    let traced = async move {
        let mut span = span;
        match answer.await {
            Ok(response) => {
                if let Some(status) = Status::from_header_map(response.headers()) {
                    end(&mut span, &status);
                }
                Ok(response.map(|body| telling_its_end(body, move |status| end(&mut span, status))))
            }
            Err(error) => {
                span.fail(|| error.to_string());
                Err(error)
            }
        }
    };
    Either::Right(traced.boxed())
}

fn begin(spans: &Spans, request: &Request<Body>) -> Span {
    if !spans.is_on() {
        return Span::none();
    }
    let parent = request.headers().get(TraceContext::NAME);
    let parent = parent.and_then(|value| TraceContext::parse(value.as_bytes()));
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let mut span = spans.begin(method, SpanKind::Client, parent);
    span.set(|| KeyValue::new("rpc.system.name", "grpc"));
    let server = request.uri().authority();
    span.set(|| KeyValue::new("server.address", server.map(ToString::to_string).unwrap_or_default()));
    span
}

fn end(span: &mut Span, status: &Status) {
    if status.code() != Code::Ok {
        span.fail(|| format!("{:?}: {}", status.code(), status.message()));
    }
}

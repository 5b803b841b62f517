use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Request};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;
use varve_api::headers::{FORWARD, FORWARD_NEVER};
use varve_telemetry::Spans;

use crate::traced;

/// The way to one server for one call.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    channel: Channel,
    /// Whether the server may hand the call on.
    may_forward: bool,
    spans: Spans,
}

impl Connection {
    /// For a call that any server takes, and hands on if need be.
    pub(crate) fn to_any(channel: Channel) -> Self {
        Self { channel, may_forward: true, spans: Spans::off() }
    }

    /// For a call that is meant for this very server, which says so if it is not the right one: then no call takes a way
    /// around unnoticed.
    pub(crate) fn to_one(channel: Channel) -> Self {
        Self { channel, may_forward: false, spans: Spans::off() }
    }

    /// The same, for a call that the server is to answer by itself, with what it knows.
    pub(crate) fn for_itself(self) -> Self {
        Self { may_forward: false, ..self }
    }

    /// The same, with a span for the call.
    pub(crate) fn told_to(self, spans: Spans) -> Self {
        Self { spans, ..self }
    }
}

impl Service<Request<Body>> for Connection {
    type Response = <Channel as Service<Request<Body>>>::Response;
    type Error = <Channel as Service<Request<Body>>>::Error;
    type Future = traced::Call;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if !self.may_forward {
            let name = HeaderName::from_static(FORWARD);
            request.headers_mut().insert(name, HeaderValue::from_static(FORWARD_NEVER));
        }
        traced::call(&mut self.channel, &self.spans, request)
    }
}

/// Counts the calls to a server that are under way, streams included.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outstanding(Arc<AtomicUsize>);

impl Outstanding {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) -> OutstandingCall {
        self.0.fetch_add(1, Ordering::Relaxed);
        OutstandingCall(self.clone())
    }
}

/// A call that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct OutstandingCall(Outstanding);

impl Drop for OutstandingCall {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

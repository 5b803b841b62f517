//! Stands before every service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;
use varve_api::error::ApiError;
use varve_authz::{Action, Authorizer, Object, ObjectOf, Requirement, requirement};
use varve_telemetry::{Counter, KeyValue, Telemetry, catalogue};

use super::Caller;
use super::call::{Subject, Who, handed_on, identify};
use super::denial::{not_a_node, unknown};

/// The topic that the book's service is about.
const DEFAULT_TOPIC: &str = "default";

/// A service behind a guard, who lets nobody in that is not known, and knows what each call asks for. Where the object is in
/// the request the handler asks the policy itself ([`Call::authorize`](super::Call::authorize)). Without an authorizer the node
/// serves in the clear, and lets all in.
#[derive(Clone, Debug)]
pub(crate) struct Guard<S> {
    inner: S,
    authorizer: Option<Authorizer>,
    decisions: Counter<u64>,
}

/// Puts a guard before a service.
#[derive(Clone, Debug)]
pub(crate) struct GuardLayer {
    authorizer: Option<Authorizer>,
    decisions: Counter<u64>,
}

impl GuardLayer {
    pub(crate) fn new(authorizer: Option<Authorizer>, telemetry: &Telemetry) -> Self {
        let decisions = telemetry.counter(&catalogue::AUTHORIZATIONS);
        // A series that begins with its first denial has no rate until the second.
        for action in Action::ALL.into_iter().filter(|_| authorizer.is_some()) {
            let labels = [KeyValue::new("decision", "deny"), KeyValue::new("action", action.as_str())];
            decisions.add(0, &labels);
        }
        Self { authorizer, decisions }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, authorizer: self.authorizer.clone(), decisions: self.decisions.clone() }
    }
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(authorizer) = self.authorizer.clone() else {
            identify(request.extensions_mut(), Who::Anyone);
            return Box::pin(self.inner.call(request));
        };
        let required = requirement(request.uri().path());
        if required == Some(Requirement::Anyone) {
            return Box::pin(self.inner.call(request));
        }
        let who = match who(&request, &authorizer, &self.decisions)
            .and_then(|who| admit(&request, required, who))
        {
            Ok(who) => who,
            Err(error) => return refuse(error),
        };
        let asked = match (required, &who) {
            (Some(Requirement::Allowed(action, object)), Who::Subject(subject))
                if object != ObjectOf::Topic =>
            {
                Some((action, object, Arc::clone(subject)))
            }
            // The handler asks, or nobody has to.
            _ => None,
        };
        identify(request.extensions_mut(), who);
        let Some((action, object, subject)) = asked else { return Box::pin(self.inner.call(request)) };
        // The one that is ready goes with the call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            match subject.may(action, object).await {
                Ok(()) => inner.call(request).await,
                Err(error) => Ok(Status::from(error).into_http()),
            }
        })
    }
}

fn refuse(error: ApiError) -> BoxFuture<'static, Result<Response<Body>, Infallible>> {
    Box::pin(std::future::ready(Ok(Status::from(error).into_http())))
}

/// Whether a caller may make such a call at all.
fn admit(request: &Request<Body>, required: Option<Requirement>, who: Who) -> Result<Who, ApiError> {
    match (required, who) {
        (Some(Requirement::Peer), Who::Subject(subject)) => {
            Err(not_a_node(&subject.name, subject.addr, request.uri().path()))
        }
        // What no server takes is refused by that, to those who are known.
        (_, who) => Ok(who),
    }
}

fn who(request: &Request<Body>, authorizer: &Authorizer, decisions: &Counter<u64>) -> Result<Who, ApiError> {
    let path = request.uri().path();
    let subject = |name: &Arc<str>, addr: SocketAddr| {
        let (name, authorizer, decisions) = (Arc::clone(name), authorizer.clone(), decisions.clone());
        Who::Subject(Arc::new(Subject { name, addr, authorizer, decisions }))
    };
    match request.extensions().get::<Caller>() {
        Some(Caller::Client { subject: name, addr }) => Ok(subject(name, *addr)),
        Some(Caller::Node { subject: node, node: name, addr }) => match handed_on(request.headers()) {
            None => Ok(Who::Node { name: name.clone() }),
            Some(Ok(name)) => Ok(subject(&name, *addr)),
            Some(Err(())) => {
                Err(unknown(&format!("{node:?} hands a call on, and does not say whose"), *addr, path))
            }
        },
        Some(Caller::Nobody { why, addr }) => Err(unknown(why, *addr, path)),
        // It did not come through TLS, and never should have come here.
        Some(Caller::Anyone) | None => {
            Err(unknown("the connection is not encrypted", SocketAddr::from(([0, 0, 0, 0], 0)), path))
        }
    }
}

impl Subject {
    /// What can be decided before the request is read.
    async fn may(&self, action: Action, object: ObjectOf) -> Result<(), ApiError> {
        match object {
            // It stands in the request.
            ObjectOf::Topic => Ok(()),
            ObjectOf::DefaultTopic => self.authorize(action, Object::Topic(DEFAULT_TOPIC)).await,
            ObjectOf::Cluster => self.authorize(action, Object::Cluster).await,
            ObjectOf::SomeTopic => self.authorize(action, Object::SomeTopic).await,
        }
    }
}

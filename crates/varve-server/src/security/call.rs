//! A call, as its handler sees it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tonic::codegen::http::{Extensions, HeaderMap, HeaderName};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Request, Status};
use varve_api::error::{ApiError, Reason};
use varve_api::headers;
use varve_authz::{Action, Authorizer, Object, SUBJECT_BYTES_MAX};
use varve_telemetry::{Counter, KeyValue, TraceContext};

use super::caller::may_be;
use super::denial::{denied, not_the_owner};
use crate::cluster::may_forward;
use crate::error::invalid;
use crate::telemetry::trace_of;
use crate::topics::Claim;

const SUBJECT_HEADER: HeaderName = HeaderName::from_static(headers::SUBJECT);

/// Who makes a call, as the guard has found out.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Anyone: this node serves in the clear.
    Anyone,
    /// A node of this cluster, of its own accord. It may do everything.
    Node {
        /// Its name, where its certificate has it.
        name: Option<Arc<str>>,
    },
    /// Somebody, of whom the policy knows.
    Subject(Arc<Subject>),
}

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: Arc<str>,
    pub(super) addr: SocketAddr,
    pub(super) authorizer: Authorizer,
    /// What was decided.
    pub(super) decisions: Counter<u64>,
}

/// A call: who makes it, and whether it may be handed on. A clone is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    who: Option<Who>,
    may_forward: bool,
    /// Where it belongs in a trace, if that is recorded.
    trace: Option<TraceContext>,
}

impl Call {
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let who = request.extensions().get::<Who>().cloned();
        let trace = trace_of(request.extensions());
        Self { who, may_forward: may_forward(request.metadata()), trace }
    }

    /// Where it belongs in a trace, if that is recorded.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Whether it may be handed on to another node.
    pub(crate) fn may_forward(&self) -> bool {
        self.may_forward
    }

    /// Whether the caller may do this to a topic, of whatever name.
    pub(crate) async fn authorize(&self, action: Action, topic: &str) -> Result<(), ApiError> {
        match &self.who {
            Some(Who::Anyone | Who::Node { .. }) => Ok(()),
            Some(Who::Subject(subject)) => subject.authorize(action, Object::Topic(topic)).await,
            None => Err(unguarded()),
        }
    }

    /// Whether the caller may take the place of a node of this name: a node has but its own.
    pub(crate) fn authorize_node(&self, name: &str) -> Result<(), ApiError> {
        match &self.who {
            Some(Who::Anyone) => Ok(()),
            Some(Who::Node { name: certified }) => may_be(certified.as_deref(), Some(name))
                .map_err(|reason| ApiError::new(Reason::PermissionDenied, reason)),
            // The guard lets nobody else come here.
            Some(Who::Subject(_)) | None => Err(unguarded()),
        }
    }

    /// In whose name the caller takes a producer's name: its own, or that of an `owner`, which takes an administrator of the cluster.
    /// In nobody's where nobody says who they are, and for a node of its own accord.
    pub(crate) async fn claim(&self, owner: &str) -> Result<Option<Claim>, ApiError> {
        let subject = match &self.who {
            Some(Who::Subject(subject)) => subject,
            Some(Who::Anyone | Who::Node { .. }) if owner.is_empty() => return Ok(None),
            Some(Who::Anyone | Who::Node { .. }) => {
                return Err(invalid("owner", "whoever calls has no subject, and gives no names away"));
            }
            None => return Err(unguarded()),
        };
        if owner.is_empty() {
            let admin = subject.authorizer.decide(&subject.name, Object::Cluster, Action::Admin).await;
            return Ok(Some(Claim {
                subject: Arc::clone(&subject.name),
                take_over: admin.allowed,
                is_given: false,
            }));
        }
        subject.authorize(Action::Admin, Object::Cluster).await?;
        if owner.len() > SUBJECT_BYTES_MAX || owner.chars().any(char::is_control) {
            return Err(invalid(
                "owner",
                format!("a subject has {SUBJECT_BYTES_MAX} bytes at most, and no control characters"),
            ));
        }
        Ok(Some(Claim { subject: owner.into(), take_over: true, is_given: true }))
    }

    /// The refusal of a producer's name that belongs to somebody else.
    pub(crate) fn not_the_owner(&self, name: &str) -> ApiError {
        match &self.who {
            Some(Who::Subject(subject)) => not_the_owner(&subject.name, subject.addr, name),
            // Of those no name is refused.
            _ => unguarded(),
        }
    }

    /// Whether the caller may see a topic: a refusal is no event, but a matter of what is shown.
    pub(crate) async fn sees(&self, topic: &str) -> bool {
        match &self.who {
            Some(Who::Anyone | Who::Node { .. }) => true,
            Some(Who::Subject(subject)) => {
                let object = Object::Topic(topic);
                subject.authorizer.decide(&subject.name, object, Action::Describe).await.allowed
            }
            None => false,
        }
    }

    /// A stream that ends, with the refusal, once the policy no longer allows it.
    pub(crate) async fn while_allowed<S, T>(
        &self,
        action: Action,
        topic: &str,
        items: S,
    ) -> stream::BoxStream<'static, Result<T, Status>>
    where
        S: Stream<Item = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let Some(Who::Subject(subject)) = &self.who else { return items.boxed() };
        let mut grant = subject.authorizer.grant(&subject.name, Object::Topic(topic), action).await;
        let (subject, topic) = (Arc::clone(subject), topic.to_owned());
        let refusal = Arc::new(OnceLock::new());
        let refused = Arc::clone(&refusal);
        let until = async move {
            let decision = grant.refused().await;
            let error = denied(&subject.name, subject.addr, Object::Topic(&topic), action, &decision);
            drop(refused.set(error));
        };
        let last = stream::once(async move { refusal.get().cloned() });
        let last = last.filter_map(|error| std::future::ready(error.map(|error| Err(Status::from(error)))));
        items.take_until(Box::pin(until)).chain(last).boxed()
    }

    /// The same call to another node, which hands it on no more, and hears who has made it.
    pub(crate) fn hand_on<T>(&self, message: T) -> Request<T> {
        let mut request = crate::cluster::unforwarded(message);
        if let Some(Who::Subject(subject)) = &self.who {
            let name = BinaryMetadataValue::from_bytes(subject.name.as_bytes());
            request.metadata_mut().insert_bin(headers::SUBJECT, name);
        }
        if let Some(value) = self.trace.and_then(|trace| trace.to_traceparent().parse().ok()) {
            request.metadata_mut().insert(TraceContext::NAME, value);
        }
        request
    }

    /// The same, with an end to how long it may take.
    pub(crate) fn hand_on_for<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = self.hand_on(message);
        request.set_timeout(timeout);
        request
    }
}

impl Subject {
    pub(super) async fn authorize(&self, action: Action, object: Object<'_>) -> Result<(), ApiError> {
        let decision = self.authorizer.decide(&self.name, object, action).await;
        let word = if decision.allowed { "allow" } else { "deny" };
        self.decisions.add(1, &[KeyValue::new("decision", word), KeyValue::new("action", action.as_str())]);
        if decision.allowed {
            return Ok(());
        }
        Err(denied(&self.name, self.addr, object, action, &decision))
    }
}

/// Every call comes through the guard. One that has not is not let in.
fn unguarded() -> ApiError {
    ApiError::new(Reason::Internal, "a call came by a way that nobody guards")
}

/// The subject of a call that another node hands on; an error where it says none that can be read.
pub(super) fn handed_on(map: &HeaderMap) -> Option<Result<Arc<str>, ()>> {
    let value = map.get(headers::SUBJECT)?.clone();
    let metadata = MetadataMap::from_headers(HeaderMap::from_iter([(SUBJECT_HEADER, value)]));
    let bytes = metadata.get_bin(headers::SUBJECT).and_then(|value| value.to_bytes().ok());
    let name = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    Some(name.filter(|name| !name.is_empty()).map(Arc::from).ok_or(()))
}

/// Says in a request who makes it.
pub(super) fn identify(extensions: &mut Extensions, who: Who) {
    drop(extensions.insert(who));
}

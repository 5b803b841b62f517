//! Refusals: what the caller hears, and what is kept for whoever has to answer for them.

use std::net::SocketAddr;

use varve_api::error::{ApiError, Reason, meta};
use varve_authz::{Action, Decision, Object};

/// The caller is known, and may not do it. Every refusal is said in the log.
pub(super) fn denied(
    subject: &str,
    addr: SocketAddr,
    object: Object<'_>,
    action: Action,
    decision: &Decision,
) -> ApiError {
    let basis = decision.basis.to_string();
    tracing::warn!(target: "varve::audit", subject, object = %object, action = %action, rule = %basis, peer_addr = %addr, "denied");
    let message = format!("{subject:?} may not {action} {object}: {basis}");
    let named = match object {
        Object::Topic(name) => name,
        Object::Cluster | Object::SomeTopic => "*",
    };
    ApiError::new(Reason::PermissionDenied, message)
        .with(meta::SUBJECT, subject)
        .with(meta::ACTION, action)
        .with(meta::OBJECT, named)
        .with(meta::RULE, basis)
}

/// The call is for nodes of the cluster alone.
pub(super) fn not_a_node(subject: &str, addr: SocketAddr, method: &str) -> ApiError {
    let rule = "it is for nodes of this cluster alone";
    tracing::warn!(target: "varve::audit", subject, object = "cluster", action = method, rule, peer_addr = %addr, "denied");
    ApiError::new(Reason::PermissionDenied, format!("{subject:?} may not call {method}: {rule}"))
        .with(meta::SUBJECT, subject)
        .with(meta::ACTION, method)
        .with(meta::OBJECT, "*")
        .with(meta::RULE, rule)
}

/// The caller is not known.
pub(super) fn unknown(why: &str, addr: SocketAddr, method: &str) -> ApiError {
    tracing::warn!(target: "varve::audit", subject = "", action = method, rule = why, peer_addr = %addr, "denied");
    ApiError::new(Reason::Unauthenticated, format!("this server has to know who calls: {why}"))
}

//! Refusals: what the caller hears, and what is kept for whoever has to answer for them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use varve_api::error::{ApiError, Reason, meta};
use varve_authz::{Action, Decision, Object, requirement};

/// The most of what a caller has said that is said again, in bytes.
const SAID_BYTES_MAX: usize = 256;

/// For so long a refusal that was told is told no more, but counted.
const TOLD_INTERVAL: Duration = Duration::from_secs(5);

/// How many different ones of one caller are told in that time.
const TOLD_MAX: usize = 64;

/// How many callers are told apart; of more, all begin anew.
const CALLERS_MAX: usize = 1024;

/// Refusals of this process. A caller who is refused again and again, or makes up names, is not to fill the disk with that.
static TOLD: LazyLock<Mutex<HashMap<(String, IpAddr), Told>>> = LazyLock::new(Mutex::default);

/// What was told of one caller.
struct Told {
    since: Instant,
    refusals: HashSet<(String, String)>,
    left_out: u64,
}

impl Told {
    fn new(now: Instant) -> Self {
        Self { since: now, refusals: HashSet::new(), left_out: 0 }
    }

    /// Notes a refusal. `Some(n)`: tell it, and that `n` before it were not.
    fn note(&mut self, object: &str, action: &str, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= TOLD_INTERVAL {
            self.since = now;
            self.refusals.clear();
        }
        let is_new =
            self.refusals.len() < TOLD_MAX && self.refusals.insert((object.to_owned(), action.to_owned()));
        if is_new {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

fn to_tell(subject: &str, addr: SocketAddr, object: &str, action: &str) -> Option<u64> {
    let (now, caller) = (Instant::now(), (cut(subject).into_owned(), addr.ip()));
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() >= CALLERS_MAX && !told.contains_key(&caller) {
        told.clear();
    }
    told.entry(caller).or_insert_with(|| Told::new(now)).note(object, action, now)
}

/// The beginning of what may be of any length.
fn cut(said: &str) -> Cow<'_, str> {
    if said.len() <= SAID_BYTES_MAX {
        return Cow::Borrowed(said);
    }
    let end = said.floor_char_boundary(SAID_BYTES_MAX);
    Cow::Owned(format!("{}... ({} bytes)", &said[..end], said.len()))
}

/// A method, if it is one.
fn known(method: &str) -> &str {
    if requirement(method).is_some() { method } else { "a call that there is not" }
}

/// The caller is known, and may not do it.
pub(super) fn denied(
    subject: &str,
    addr: SocketAddr,
    object: Object<'_>,
    action: Action,
    decision: &Decision,
) -> ApiError {
    let basis = decision.basis.to_string();
    let basis = cut(&basis);
    let described = object.to_string();
    let described = cut(&described);
    if let Some(unreported) = to_tell(subject, addr, &described, &action.to_string()) {
        tracing::warn!(
            target: "varve::audit", subject, object = %described, action = %action, rule = %basis, peer_addr = %addr, unreported,
            "denied"
        );
    }
    let message = format!("{subject:?} may not {action} {described}: {basis}");
    let named = match object {
        Object::Topic(name) => cut(name),
        Object::Cluster | Object::SomeTopic => Cow::Borrowed("*"),
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
    let method = known(method);
    if let Some(unreported) = to_tell(subject, addr, "cluster", method) {
        tracing::warn!(
            target: "varve::audit", subject, object = "cluster", action = method, rule, peer_addr = %addr, unreported, "denied"
        );
    }
    ApiError::new(Reason::PermissionDenied, format!("{subject:?} may not call {method}: {rule}"))
        .with(meta::SUBJECT, subject)
        .with(meta::ACTION, method)
        .with(meta::OBJECT, "*")
        .with(meta::RULE, rule)
}

/// The name of a producer belongs to somebody else. Who that is does not concern the caller.
pub(super) fn not_the_owner(subject: &str, addr: SocketAddr, name: &str) -> ApiError {
    let (rule, action, object) = ("it belongs to another subject", "InitProducer", cut(name));
    if let Some(unreported) = to_tell(subject, addr, &object, action) {
        tracing::warn!(
            target: "varve::audit", subject, object = %object, action, rule, peer_addr = %addr, unreported, "denied"
        );
    }
    let message = format!(
        "{subject:?} may not take the producer name {object:?}: {rule}; use another name, or have an administrator of the cluster hand it \
         over"
    );
    ApiError::new(Reason::PermissionDenied, message)
        .with(meta::SUBJECT, subject)
        .with(meta::ACTION, action)
        .with(meta::OBJECT, object)
        .with(meta::RULE, rule)
}

/// The caller is not known.
pub(super) fn unknown(why: &str, addr: SocketAddr, method: &str) -> ApiError {
    let method = known(method);
    if let Some(unreported) = to_tell("", addr, "", method) {
        tracing::warn!(target: "varve::audit", subject = "", action = method, rule = why, peer_addr = %addr, unreported, "denied");
    }
    ApiError::new(Reason::Unauthenticated, format!("this server has to know who calls: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_told_once_in_a_while_and_never_more_than_so_many() {
        let mut told = Told::new(Instant::now());
        assert_eq!(told.note("events", "consume", Instant::now()), Some(0));
        assert_eq!(told.note("events", "consume", Instant::now()), None);
        assert_eq!(told.note("events", "produce", Instant::now()), Some(1));
        let made_up = (0..1000).filter_map(|n| told.note(&n.to_string(), "consume", Instant::now())).count();
        assert_eq!(made_up, TOLD_MAX - 2);
        tokio::time::advance(TOLD_INTERVAL).await;
        assert_eq!(told.note("events", "consume", Instant::now()), Some(1000 - made_up as u64));
    }

    #[test]
    fn what_a_caller_says_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(10_000);
        assert_eq!(cut(&long).chars().filter(|c| *c == 'ä').count(), SAID_BYTES_MAX / 2);
    }
}

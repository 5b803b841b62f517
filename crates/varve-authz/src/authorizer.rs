//! The policy in use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use varve_env::Blocking;

use crate::action::Action;
use crate::cache::Cache;
use crate::decision::Decision;
use crate::grant::Grant;
use crate::limits::{RULES_FEW, SUBJECT_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::object::{Object, OwnedObject};
use crate::policy::Policy;

/// The policy in use, which can be replaced. Cheap to clone: all clones are one.
///
/// A decision that was made before under the same policy is remembered. One that was not is made without any lock, so that
/// nobody else waits for it.
#[derive(Clone, Debug)]
pub struct Authorizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_use: RwLock<Arc<InUse>>,
    /// That of `in_use`, to be read by streams for each batch.
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    blocking: Blocking,
}

/// A policy and what was decided by it: they go together.
#[derive(Debug)]
struct InUse {
    policy: Policy,
    cache: Cache,
}

impl Authorizer {
    /// Begins with a policy. What takes long is made by way of `blocking`.
    #[must_use]
    pub fn new(policy: Policy, blocking: Blocking) -> Self {
        let in_use = Arc::new(InUse { policy, cache: Cache::default() });
        let (changes, _) = watch::channel(0);
        Self(Arc::new(Inner {
            in_use: RwLock::new(in_use),
            generation: AtomicU64::new(0),
            changes,
            blocking,
        }))
    }

    /// Whether a subject may do this, and what says so. A decision that is remembered is there at once, and one that few rules make
    /// is made on the spot; what takes longer does not hold up the thread.
    pub async fn decide(&self, subject: &str, object: Object<'_>, action: Action) -> Decision {
        let in_use = self.in_use();
        if let Some(decision) = in_use.cache.get(subject, object, action) {
            return decision;
        }
        if in_use.policy.rules_to_look_at(subject) <= RULES_FEW {
            return in_use.decide(subject, object, action);
        }
        let (subject, object) = (subject.to_owned(), OwnedObject::from(object));
        self.0.blocking.run(move || in_use.decide(&subject, object.borrowed(), action)).await
    }

    /// A decision for a stream, which it asks again for each batch at next to no cost.
    pub async fn grant(&self, subject: &str, object: Object<'_>, action: Action) -> Grant {
        Grant::new(self.clone(), subject, object, action).await
    }

    /// Puts another policy in the place of this one. What was decided is forgotten, and streams are told.
    pub fn replace(&self, policy: Policy) {
        let next = Arc::new(InUse { policy, cache: Cache::default() });
        let mut in_use = self.0.in_use.write().unwrap_or_else(PoisonError::into_inner);
        *in_use = next;
        // While the lock is held: whoever reads this generation finds this policy, or a later one.
        let generation = self.0.generation.fetch_add(1, Ordering::Release) + 1;
        self.0.changes.send_replace(generation);
    }

    /// How often the policy was replaced. A decision holds as long as this stands still.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Tells of each replacement: for streams that wait for something else meanwhile.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Looks at the policy in use.
    pub fn with_policy<T>(&self, look: impl FnOnce(&Policy) -> T) -> T {
        look(&self.in_use().policy)
    }

    fn in_use(&self) -> Arc<InUse> {
        Arc::clone(&self.0.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    fn cached(&self) -> usize {
        self.in_use().cache.len()
    }
}

impl InUse {
    fn decide(&self, subject: &str, object: Object<'_>, action: Action) -> Decision {
        let decision = self.policy.decide(subject, object, action);
        if fits_the_cache(subject, object) {
            self.cache.put(subject, object, action, decision.clone());
        }
        decision
    }
}

/// Names that are too long to be good ones are not kept.
fn fits_the_cache(subject: &str, object: Object<'_>) -> bool {
    let object_fits = match object {
        Object::Topic(topic) => topic.len() <= TOPIC_BYTES_MAX,
        Object::Cluster | Object::SomeTopic => true,
    };
    subject.len() <= SUBJECT_BYTES_MAX && object_fits
}

#[cfg(test)]
mod tests;

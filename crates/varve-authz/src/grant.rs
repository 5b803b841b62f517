//! A decision that a stream keeps.

use tokio::sync::watch;

use crate::action::Action;
use crate::authorizer::Authorizer;
use crate::decision::Decision;
use crate::object::{Object, OwnedObject};

/// What a stream may do, as long as the policy says so.
#[derive(Debug)]
pub struct Grant {
    authorizer: Authorizer,
    subject: String,
    object: OwnedObject,
    action: Action,
    generation: u64,
    decision: Decision,
    changes: watch::Receiver<u64>,
}

impl Grant {
    pub(crate) async fn new(
        authorizer: Authorizer,
        subject: &str,
        object: Object<'_>,
        action: Action,
    ) -> Self {
        // Before the decision: a policy that comes between the two is then asked again.
        let changes = authorizer.changes();
        let generation = authorizer.generation();
        let decision = authorizer.decide(subject, object, action).await;
        let (subject, object) = (subject.to_owned(), object.into());
        Self { authorizer, subject, object, action, generation, decision, changes }
    }

    /// The decision as it is now: one look at a number, unless the policy was replaced.
    pub async fn decision(&mut self) -> &Decision {
        let generation = self.authorizer.generation();
        if generation != self.generation {
            self.decision = self.authorizer.decide(&self.subject, self.object.borrowed(), self.action).await;
            self.generation = generation;
        }
        &self.decision
    }

    /// Waits until it is not allowed (any more), and says why: for a stream that waits for something else meanwhile. Nothing is
    /// lost where the wait is given up.
    pub async fn refused(&mut self) -> Decision {
        loop {
            if !self.decision().await.allowed {
                return self.decision.clone();
            }
            // The authorizer lives as long as this, and the sender in it.
            if self.changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

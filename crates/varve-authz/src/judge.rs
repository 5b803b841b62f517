//! Decisions about one subject.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::action::Action;
use crate::decision::{Basis, Decision};
use crate::engine::Engine;
use crate::object::{ANY, Object};
use crate::rule::Rule;

/// What decides about a subject: the rules that can apply to it, and an engine that knows these.
pub(crate) struct Judge<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) subject: &'a str,
    pub(crate) rules: &'a [Arc<Rule>],
    pub(crate) engine: &'a Engine,
}

impl Judge<'_> {
    pub(crate) fn decide(&self, object: Object<'_>, action: Action) -> Decision {
        match object {
            Object::Cluster => self.decide_on_topic(ANY, action),
            Object::Topic(topic) => self.decide_on_topic(topic, action),
            Object::SomeTopic => self.decide_on_some(action),
        }
    }

    /// Whoever may do something to a topic may see it too, unless a rule says that they may not see it.
    fn decide_on_topic(&self, topic: &str, action: Action) -> Decision {
        let decision = self.ask(topic, action);
        if action != Action::Describe || decision.allowed || decision.is_explicit_deny() {
            return decision;
        }
        let mut implied = Action::IMPLY_DESCRIBE.into_iter().map(|action| self.ask(topic, action));
        implied.find(|decision| decision.allowed).unwrap_or(decision)
    }

    /// Allowed if it is for any object that a rule names.
    fn decide_on_some(&self, action: Action) -> Decision {
        let about = |rule: &&Arc<Rule>| rule.action.is_none_or(|named| named == action);
        let objects: BTreeSet<&str> =
            self.rules.iter().filter(about).map(|rule| rule.object.as_str()).collect();
        let mut refused = None;
        for decision in objects.into_iter().map(|object| self.ask(object, action)) {
            if decision.allowed {
                return decision;
            }
            // What a rule denies is a better answer than that there is none.
            if refused.is_none() && decision.is_explicit_deny() {
                refused = Some(decision);
            }
        }
        refused.unwrap_or_else(|| no_rule(self.file))
    }

    /// Asks for the object, then for `*`, which models that compare whole names have for any. A deny of either wins.
    fn ask(&self, object: &str, action: Action) -> Decision {
        let first = self.ask_engine(object, action);
        if object == ANY || first.is_explicit_deny() {
            return first;
        }
        let second = self.ask_engine(ANY, action);
        if second.is_explicit_deny() || !first.allowed { second } else { first }
    }

    fn ask_engine(&self, object: &str, action: Action) -> Decision {
        match self.engine.decide(self.subject, object, action.as_str()) {
            Ok((allowed, Some(at))) => Decision::by_rule(allowed, Arc::clone(&self.rules[at])),
            Ok((false, None)) => no_rule(self.file),
            // No model that is taken here allows without a rule.
            Ok((true, None)) => failure("it is allowed without a rule".to_owned()),
            Err(problem) => failure(problem),
        }
    }
}

pub(crate) fn no_rule(file: &Arc<str>) -> Decision {
    Decision::denied(Basis::NoRule { file: Arc::clone(file) })
}

pub(crate) fn failure(problem: String) -> Decision {
    Decision::denied(Basis::Failure { problem: problem.into() })
}

//! What was decided, and by what.

use std::fmt;
use std::sync::Arc;

use crate::rule::Rule;

/// Whether something is allowed, and which rule says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// By what.
    pub basis: Basis,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A rule, which allows or denies.
    Rule(Arc<Rule>),
    /// That no rule of this file allows it.
    NoRule {
        /// The file.
        file: Arc<str>,
    },
    /// That the model could not be applied to it. It is denied.
    Failure {
        /// What went wrong.
        problem: Arc<str>,
    },
}

impl Decision {
    pub(crate) fn by_rule(allowed: bool, rule: Arc<Rule>) -> Self {
        Self { allowed, basis: Basis::Rule(rule) }
    }

    pub(crate) fn denied(basis: Basis) -> Self {
        Self { allowed: false, basis }
    }

    /// The rule that decided, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&Arc<Rule>> {
        match &self.basis {
            Basis::Rule(rule) => Some(rule),
            Basis::NoRule { .. } | Basis::Failure { .. } => None,
        }
    }

    /// Whether a rule says that it is denied, which nothing outweighs.
    pub(crate) fn is_explicit_deny(&self) -> bool {
        !self.allowed && !matches!(self.basis, Basis::NoRule { .. })
    }
}

/// Says what decided: `rule policy.csv:3: p, root, *, produce`, or that there is no rule.
impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "rule {rule}"),
            Self::NoRule { file } => write!(f, "no rule of {file} allows it"),
            Self::Failure { problem } => write!(f, "the model cannot be applied: {problem}"),
        }
    }
}

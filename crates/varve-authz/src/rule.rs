//! The lines of a policy.

use std::fmt;
use std::sync::Arc;

use crate::action::Action;

/// What a rule does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever allows.
    Deny,
}

/// A `p` line of a policy, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The line as it stands there.
    pub text: String,
    /// Whom it is about: a subject or a role, or `*` for anyone.
    pub subject: String,
    /// What it is about: a topic, a prefix such as `logs-*`, or `*`.
    pub object: String,
    /// What it is about; `None` for `*`, whatever is done.
    pub action: Option<Action>,
    /// What it does.
    pub effect: Effect,
}

/// A `g` line of a policy: who has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleLink {
    /// The line, from 1.
    pub line: usize,
    /// A subject, or a role.
    pub member: String,
    /// The role.
    pub role: String,
}

impl Effect {
    /// The word that policies have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Rule {
    /// The word that stands where its action does.
    #[must_use]
    pub fn action_word(&self) -> &'static str {
        self.action.map_or(crate::object::ANY, Action::as_str)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

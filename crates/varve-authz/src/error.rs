//! Why a policy is not taken.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::action::Action;
use crate::limits::{BRACKETS_DEEP_MAX, LINE_BYTES_MAX, ROLE_DEPTH_MAX, RULES_MAX, SUBJECT_BYTES_MAX};

/// A model or policy that is refused as a whole, with the line that is wrong.
#[derive(Debug)]
pub struct PolicyError {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1; `None` where it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

/// What is wrong with a model or policy, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// It is too large.
    #[error("it has more than {bytes_max} bytes: take away what is not needed")]
    FileTooLarge {
        /// Most bytes.
        bytes_max: u64,
    },
    /// It is no text.
    #[error("it is no UTF-8 text")]
    NotText,
    /// A line is too long.
    #[error("the line has more than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A line holds characters that nobody sees.
    #[error("the line holds control characters")]
    ControlCharacters,

    /// There are more rules than a decision can look at.
    #[error("there are more than {RULES_MAX} rules and role links: use roles and prefixes")]
    TooManyRules,
    /// There is no rule.
    #[error("it holds no rule, so that everything would be denied: write one, such as `p, root, *, admin`")]
    NoRules,
    /// A line begins with something else.
    #[error("{word:?} begins no line: rules begin with `p`, role links with `g`, comments with `#`")]
    UnknownSection {
        /// The word.
        word: String,
    },
    /// A line has too few or too many fields.
    #[error("the line has {count} fields after its first: {expected}")]
    FieldCount {
        /// How many it has.
        count: usize,
        /// How it is written.
        expected: String,
    },
    /// A field has nothing in it.
    #[error("field {position} of the line is empty")]
    EmptyField {
        /// Which, from 1.
        position: usize,
    },
    /// Quotes stand where they mean nothing.
    #[error("a quote is in the wrong place: quote a whole field, as in \"Doe, Jane\", or nothing")]
    Quotes,
    /// A subject's or role's name is too long.
    #[error("a subject or role has at most {SUBJECT_BYTES_MAX} bytes")]
    SubjectTooLong,
    /// `*` stands for a subject, and the model does not mean anyone by it.
    #[error("with this model `*` is no subject: its matcher needs `p.sub == \"*\"` for that")]
    AnySubject,
    /// A topic's name is none, or a pattern is none.
    #[error(
        "{object:?} is neither a topic, nor a prefix such as `logs-*`, nor `*`: topics have 1 to 249 letters, digits, '.', '_' \
         and '-'"
    )]
    Object {
        /// What stands there.
        object: String,
    },
    /// A prefix is given, and the model compares objects as a whole.
    #[error(
        "{object:?} would match no topic with this model: its matcher needs `keyMatch(r.obj, p.obj)` for prefixes"
    )]
    Prefix {
        /// What stands there.
        object: String,
    },
    /// An action is none.
    #[error("{word:?} is no action: use {list}{hint}", list = Action::list())]
    UnknownAction {
        /// What stands there.
        word: String,
        /// What else to do about it.
        hint: &'static str,
    },
    /// `*` stands for an action, and the model does not mean any by it.
    #[error("with this model `*` is no action: its matcher needs `p.act == \"*\"` for that")]
    AnyAction,
    /// An effect is none.
    #[error("{word:?} is no effect: use allow or deny")]
    UnknownEffect {
        /// What stands there.
        word: String,
    },
    /// A rule denies, and the model does not heed it.
    #[error(
        "the model does not heed `deny`: its effect needs \
         `some(where (p.eft == allow)) && !some(where (p.eft == deny))`"
    )]
    DenyUnheeded,
    /// A line stands twice.
    #[error("the line is the same as line {first}: take one away")]
    Duplicate {
        /// The first one.
        first: usize,
    },
    /// A role link stands under a model without roles.
    #[error(
        "the model has no roles: it needs `g = _, _` under [role_definition], and g(r.sub, p.sub) in its matcher"
    )]
    NoRoles,
    /// Roles have each other.
    #[error("the roles go round in a circle: {circle}")]
    RoleCycle {
        /// The way round.
        circle: String,
    },
    /// Roles are nested too deep.
    #[error("more than {ROLE_DEPTH_MAX} roles lie above each other here: nest them less")]
    RolesTooDeep,

    /// A line of a model is neither a section nor a setting.
    #[error("the line is neither a [section] nor `key = value`")]
    ModelLine,
    /// A section is unknown.
    #[error(
        "{section:?} is no section: use request_definition, policy_definition, role_definition, policy_effect and matchers"
    )]
    ModelSection {
        /// The section.
        section: String,
    },
    /// A key is unknown in its section.
    #[error("{key:?} means nothing here: [{section}] has the one key `{expected}`")]
    ModelKey {
        /// The key.
        key: String,
        /// The section.
        section: &'static str,
        /// Its key.
        expected: &'static str,
    },
    /// A key stands twice.
    #[error("`{key}` stands twice: take one away")]
    ModelKeyTwice {
        /// The key.
        key: &'static str,
    },
    /// A key is missing.
    #[error("[{section}] with `{key}` is missing")]
    ModelKeyMissing {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// Requests have another shape than ours.
    #[error("requests here are `r = sub, obj, act`")]
    RequestShape,
    /// Rules lack a field, or have one that nothing fills.
    #[error("rules here have the fields sub, obj and act, and may have eft: `p = sub, obj, act, eft`")]
    RuleShape,
    /// Roles have another shape than ours.
    #[error("roles here are `g = _, _`")]
    RoleShape,
    /// An effect is unknown.
    #[error(
        "effects here are `some(where (p.eft == allow))`, `some(where (p.eft == allow)) && !some(where (p.eft == deny))` and \
         `priority(p.eft) || deny`"
    )]
    ModelEffect,
    /// An effect allows what no rule names.
    #[error("this effect allows whatever no rule denies; here what no rule allows is denied")]
    ModelAllows,
    /// A matcher holds something else than comparisons.
    #[error(
        "{word:?} cannot stand in a matcher: it has r.sub, r.obj, r.act, p.sub, p.obj, p.act, \"text\", ==, !=, &&, ||, !, \
         brackets, g(r.sub, p.sub) and keyMatch(r.obj, p.obj)"
    )]
    Matcher {
        /// What stands there.
        word: String,
    },
    /// A matcher is too long, or nested too deep.
    #[error("a matcher has at most {LINE_BYTES_MAX} bytes, brackets {BRACKETS_DEEP_MAX} deep, and no `!!`")]
    MatcherTooDeep,
    /// Roles are defined, and the matcher does not ask for them.
    #[error("roles are defined, and the matcher does not ask for them: it needs g(r.sub, p.sub)")]
    RolesUnused,
    /// The engine refuses the model.
    #[error("the model cannot be used: {problem}")]
    Engine {
        /// What it said.
        problem: String,
    },
}

impl PolicyError {
    pub(crate) fn new(file: &Arc<str>, line: impl Into<Option<usize>>, problem: Problem) -> Self {
        Self { file: Arc::clone(file), line: line.into(), problem }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(error) => Some(error),
            _ => None,
        }
    }
}

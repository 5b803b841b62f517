//! Which rules name whom.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::object::ANY;
use crate::roles::Roles;
use crate::rule::Rule;

/// The rules by the subject or role that they name.
#[derive(Debug)]
pub(super) struct SubjectIndex(HashMap<String, Vec<usize>>);

impl SubjectIndex {
    pub(super) fn of(rules: &[Arc<Rule>]) -> Self {
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, rule) in rules.iter().enumerate() {
            index.entry(rule.subject.clone()).or_default().push(at);
        }
        Self(index)
    }

    /// The rules that can apply to a subject, in the order of the file.
    pub(super) fn about(&self, subject: &str, roles: &Roles) -> BTreeSet<usize> {
        let names = roles.all_of(subject).into_iter().chain([subject, ANY]);
        names.filter_map(|name| self.0.get(name)).flatten().copied().collect()
    }
}

//! A policy: a model and rules, found good, and what they decide.

mod index;
mod lines;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::action::Action;
use crate::decision::Decision;
use crate::engine::Engine;
use crate::error::{PolicyError, Problem};
use crate::judge::{self, Judge};
use crate::limits::RULES_FEW;
use crate::model::Model;
use crate::object::{ANY, Object};
use crate::roles::Roles;
use crate::rule::{RoleLink, Rule};
use index::SubjectIndex;

/// A model and rules, compiled: what is allowed at a moment.
pub struct Policy {
    file: Arc<str>,
    model: Model,
    rules: Vec<Arc<Rule>>,
    links: Vec<RoleLink>,
    roles: Roles,
    engine: Engine,
    /// Where there are many rules, and the model lets only those apply that name the subject.
    by_subject: Option<SubjectIndex>,
}

/// A rule that is about a subject, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicable {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The role through which it is, or `*`; `None` where it names the subject.
    pub via: Option<String>,
}

impl Policy {
    /// Reads the rules of a policy. `file` is what errors and decisions call it.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, and what is wrong with it; or the model's, if it cannot be used.
    pub fn parse(model: Model, file: &str, text: &str) -> Result<Self, PolicyError> {
        let file: Arc<str> = file.into();
        let lines::Lines { rules, links } = lines::read(&file, text, &model)?;
        let roles = Roles::of(&file, &links)?;
        let unusable =
            |problem| PolicyError::new(&model.file, model.matcher_line, Problem::Engine { problem });
        let engine = Engine::build(&model, rules.iter().map(|rule| &**rule), &links).map_err(unusable)?;
        // The engine notices only now what compiles and makes no sense, such as `r.sub && r.obj`.
        let probe = rules.first().map(|rule| engine.decide(&rule.subject, &rule.object, rule.action_word()));
        probe.transpose().map_err(unusable)?;
        let by_subject = (rules.len() > RULES_FEW && model.binds_subject).then(|| SubjectIndex::of(&rules));
        Ok(Self { file, rules, links, roles, engine, by_subject, model })
    }

    /// The policy's file, as errors call it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Who has which role, in the order of the file.
    #[must_use]
    pub fn role_links(&self) -> &[RoleLink] {
        &self.links
    }

    /// Whether a subject may do this, and what says so. It looks at each of the subject's rules: an
    /// [`Authorizer`](crate::Authorizer) remembers.
    #[must_use]
    pub fn decide(&self, subject: &str, object: Object<'_>, action: Action) -> Decision {
        match &self.by_subject {
            Some(index) => self.decide_by_few(index, subject, object, action),
            None => Judge { file: &self.file, subject, rules: &self.rules, engine: &self.engine }
                .decide(object, action),
        }
    }

    /// Everyone the policy names but roles, in order; `*` is anyone.
    #[must_use]
    pub fn subjects(&self) -> Vec<&str> {
        let named = self.rules.iter().map(|rule| rule.subject.as_str()).chain(self.roles.members());
        let subjects: BTreeSet<&str> = named.filter(|name| !self.roles.is_role(name)).collect();
        subjects.into_iter().collect()
    }

    /// The rules that are about a subject, in the order of the file.
    #[must_use]
    pub fn rules_about(&self, subject: &str) -> Vec<Applicable> {
        let roles = self.roles.all_of(subject);
        let applicable = |rule: &Arc<Rule>| {
            let via = match rule.subject.as_str() {
                name if name == subject => None,
                name if name == ANY || roles.contains(name) => Some(name.to_owned()),
                _ => return None,
            };
            Some(Applicable { rule: Arc::clone(rule), via })
        };
        self.rules.iter().filter_map(applicable).collect()
    }

    /// How many rules a decision about this subject looks at.
    pub(crate) fn rules_to_look_at(&self, subject: &str) -> usize {
        match &self.by_subject {
            Some(index) => index.about(subject, &self.roles).len(),
            None => self.rules.len(),
        }
    }

    /// Decides by those of many rules that can apply to the subject, so that it does not matter how many there are of others.
    fn decide_by_few(
        &self,
        index: &SubjectIndex,
        subject: &str,
        object: Object<'_>,
        action: Action,
    ) -> Decision {
        let about = index.about(subject, &self.roles);
        let rules: Vec<Arc<Rule>> = about.into_iter().map(|at| Arc::clone(&self.rules[at])).collect();
        if rules.is_empty() {
            return judge::no_rule(&self.file);
        }
        let roles = self.roles.all_of(subject);
        let concerns = |link: &&RoleLink| link.member == subject || roles.contains(link.member.as_str());
        let links: Vec<RoleLink> = self.links.iter().filter(concerns).cloned().collect();
        match Engine::build(&self.model, rules.iter().map(|rule| &**rule), &links) {
            Ok(engine) => {
                Judge { file: &self.file, subject, rules: &rules, engine: &engine }.decide(object, action)
            }
            Err(problem) => judge::failure(problem),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, model, rules, links, .. } = self;
        f.debug_struct("Policy")
            .field("file", file)
            .field("model", &model.file)
            .field("rules", &rules.len())
            .field("links", &links.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

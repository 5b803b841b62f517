//! Casbin, behind a small door.

use casbin::function_map::{OperatorFunction, dynamic_to_str};
use casbin::rhai::Dynamic;
use casbin::{CoreApi, DefaultModel, Enforcer, Model as _, NullAdapter};
use futures::FutureExt;

use crate::effector::{DecidingEffector, decided_by};
use crate::model::{Field, Model};
use crate::object::ANY;
use crate::rule::{RoleLink, Rule};

/// A model and its rules, compiled. It holds no lock while it decides, so that many can ask at the same time.
pub(crate) struct Engine {
    enforcer: Enforcer,
}

impl Engine {
    /// What is wrong comes as the engine's own words.
    pub(crate) fn build<'a>(
        model: &Model,
        rules: impl Iterator<Item = &'a Rule>,
        links: &[RoleLink],
    ) -> Result<Self, String> {
        let mut casbin_model = definitions(model);
        for rule in rules {
            // A row that is there already would move all that follow.
            let added = casbin_model.add_policy("p", "p", row(model, rule));
            assert!(added, "no two rules are the same");
        }
        for link in links {
            casbin_model.add_policy("g", "g", vec![link.member.clone(), link.role.clone()]);
        }
        // Nothing is read and nothing waited for: the future is ready at once.
        let made = Enforcer::new_raw(casbin_model, NullAdapter).now_or_never();
        let mut enforcer =
            made.ok_or("the engine waits for something")?.map_err(|error| error.to_string())?;
        enforcer.set_effector(Box::new(DecidingEffector(model.effect)));
        // The engine's own panics where it cuts a character in two.
        enforcer.add_function("keyMatch", OperatorFunction::Arg2(key_match));
        enforcer.build_role_links().map_err(|error| error.to_string())?;
        Ok(Self { enforcer })
    }

    /// Whether it is allowed, and by which rule, counted from 0: the one that denies, or else the first that allows.
    pub(crate) fn decide(
        &self,
        subject: &str,
        object: &str,
        action: &str,
    ) -> Result<(bool, Option<usize>), String> {
        let allowed = self.enforcer.enforce((subject, object, action)).map_err(|error| error.to_string())?;
        Ok((allowed, decided_by()))
    }
}

fn definitions(model: &Model) -> DefaultModel {
    let mut made = DefaultModel::default();
    let fields: Vec<&str> = model.fields.iter().map(|field| field.name()).collect();
    made.add_def("r", "r", "sub, obj, act");
    made.add_def("p", "p", &fields.join(", "));
    made.add_def("e", "e", model.effect.as_str());
    made.add_def("m", "m", &model.matcher);
    if model.has_roles {
        made.add_def("g", "g", "_, _");
    }
    made
}

fn row(model: &Model, rule: &Rule) -> Vec<String> {
    let value = |field: &Field| match field {
        Field::Subject => rule.subject.clone(),
        Field::Object => rule.object.clone(),
        Field::Action => rule.action_word().to_owned(),
        Field::Effect => rule.effect.as_str().to_owned(),
    };
    model.fields.iter().map(value).collect()
}

fn key_match(key: Dynamic, pattern: Dynamic) -> Dynamic {
    matches(&dynamic_to_str(&key), &dynamic_to_str(&pattern)).into()
}

/// Whether a pattern that may end with `*` fits a key.
fn matches(key: &str, pattern: &str) -> bool {
    pattern.strip_suffix(ANY).map_or(key == pattern, |prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn prefixes() {
        for (key, pattern) in [("logs-a", "logs-*"), ("logs-", "logs-*"), ("a", "*"), ("*", "*"), ("a", "a")]
        {
            assert!(matches(key, pattern), "{key} {pattern}");
        }
        for (key, pattern) in [("logs", "logs-*"), ("a", "b"), ("ab", "a"), ("*", "a"), ("é", "a*")] {
            assert!(!matches(key, pattern), "{key} {pattern}");
        }
    }
}

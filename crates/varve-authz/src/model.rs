//! The model: how rules are compared with requests.

mod conf;
mod matcher;

use std::sync::Arc;

use crate::error::{PolicyError, Problem};
use crate::rule::Effect;

/// The model that is used where none is given: exact topics, prefixes and `*`, roles, and rules that deny, which win.
pub const DEFAULT_MODEL: &str = r#"
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (p.sub == "*" || g(r.sub, p.sub)) && keyMatch(r.obj, p.obj) && (p.act == "*" || r.act == p.act)
"#;

/// What errors call it.
const DEFAULT_MODEL_NAME: &str = "the default model";

/// A model that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub(crate) file: Arc<str>,
    /// The line of its matcher, where most of what can be wrong is.
    pub(crate) matcher_line: usize,
    pub(crate) fields: Vec<Field>,
    pub(crate) effect: ModelEffect,
    pub(crate) matcher: String,
    pub(crate) has_roles: bool,
    /// Whether a rule's object may be a prefix.
    pub(crate) has_prefixes: bool,
    /// Whether a rule's subject may be `*`.
    pub(crate) has_any_subject: bool,
    /// Whether a rule's action may be `*`.
    pub(crate) has_any_action: bool,
    /// Whether only those rules can apply that name the subject, a role of it, or `*`.
    pub(crate) binds_subject: bool,
}

/// A field of a rule, in the order of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Subject,
    Object,
    Action,
    Effect,
}

/// How the rules that apply make a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModelEffect {
    /// One that allows.
    Allow,
    /// One that allows, and none that denies.
    AllowUnlessDenied,
    /// The first.
    First,
}

impl Model {
    /// Reads a model. `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// It is none, or says what is not understood here: the line and what is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let file: Arc<str> = file.into();
        let conf = conf::Conf::parse(&file, text)?;
        let problem = |line, problem| PolicyError::new(&file, line, problem);
        let request = conf.required(&file, conf::REQUEST)?;
        if compact(&request.value) != "sub,obj,act" {
            return Err(problem(request.line, Problem::RequestShape));
        }
        let policy = conf.required(&file, conf::POLICY)?;
        let fields = fields(&policy.value).ok_or_else(|| problem(policy.line, Problem::RuleShape))?;
        let effect = conf.required(&file, conf::EFFECT)?;
        let effect_of_model = model_effect(&effect.value).map_err(|wrong| problem(effect.line, wrong))?;
        let matcher = conf.required(&file, conf::MATCHERS)?;
        let uses = matcher::Uses::of(&matcher.value).map_err(|wrong| problem(matcher.line, wrong))?;
        if let Some(roles) = conf.optional(conf::ROLES) {
            if compact(&roles.value) != "_,_" {
                return Err(problem(roles.line, Problem::RoleShape));
            }
            if !uses.roles {
                return Err(problem(matcher.line, Problem::RolesUnused));
            }
        } else if uses.roles {
            return Err(problem(matcher.line, Problem::NoRoles));
        }
        Ok(Self {
            matcher_line: matcher.line,
            fields,
            effect: effect_of_model,
            matcher: matcher.value.clone(),
            has_roles: uses.roles,
            has_prefixes: uses.prefixes,
            has_any_subject: uses.any_subject,
            has_any_action: uses.any_action,
            binds_subject: uses.binds_subject,
            file,
        })
    }

    /// Whether the effect may be left out of a rule.
    pub(crate) fn effect_is_last(&self) -> bool {
        self.fields.last() == Some(&Field::Effect)
    }

    /// Whether a rule that denies is heeded.
    pub(crate) fn heeds_deny(&self) -> bool {
        self.effect != ModelEffect::Allow && self.fields.contains(&Field::Effect)
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::parse(DEFAULT_MODEL_NAME, DEFAULT_MODEL).expect("a test reads the default model")
    }
}

impl Field {
    /// The name that models have for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::Object => "obj",
            Self::Action => "act",
            Self::Effect => "eft",
        }
    }
}

impl ModelEffect {
    /// As the engine wants it written, to the space.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "some(where (p.eft == allow))",
            Self::AllowUnlessDenied => "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
            Self::First => "priority(p.eft) || deny",
        }
    }

    /// What a rule that says nothing does.
    pub(crate) const fn of_silence() -> Effect {
        Effect::Allow
    }
}

fn fields(value: &str) -> Option<Vec<Field>> {
    let known = [Field::Subject, Field::Object, Field::Action, Field::Effect];
    let mut fields = Vec::new();
    for name in value.split(',') {
        let field = known.into_iter().find(|field| field.name() == name.trim())?;
        if fields.contains(&field) {
            return None;
        }
        fields.push(field);
    }
    let required = [Field::Subject, Field::Object, Field::Action];
    required.iter().all(|field| fields.contains(field)).then_some(fields)
}

fn model_effect(value: &str) -> Result<ModelEffect, Problem> {
    match compact(value).as_str() {
        "some(where(p.eft==allow))" => Ok(ModelEffect::Allow),
        "some(where(p.eft==allow))&&!some(where(p.eft==deny))" => Ok(ModelEffect::AllowUnlessDenied),
        "priority(p.eft)||deny" => Ok(ModelEffect::First),
        "!some(where(p.eft==deny))" => Err(Problem::ModelAllows),
        _ => Err(Problem::ModelEffect),
    }
}

/// Without spaces.
fn compact(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests;

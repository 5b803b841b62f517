//! The lines of a policy file.

use std::collections::HashMap;
use std::sync::Arc;

use crate::action::Action;
use crate::error::{PolicyError, Problem};
use crate::limits::{LINE_BYTES_MAX, RULES_MAX, SUBJECT_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::model::{Field, Model, ModelEffect};
use crate::object::ANY;
use crate::rule::{Effect, RoleLink, Rule};

const ROLE_LINK_FORM: &str = "write `g, subject, role`";

/// What the lines say, in their order.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) links: Vec<RoleLink>,
}

/// Reads every line, and stops at the first that is wrong.
pub(super) fn read(file: &Arc<str>, text: &str, model: &Model) -> Result<Lines, PolicyError> {
    let mut lines = Lines::default();
    let mut seen: HashMap<Vec<&str>, usize> = HashMap::new();
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let number = at + 1;
        let problem = |problem| PolicyError::new(file, number, problem);
        let said = line.trim();
        check_bytes(line).map_err(problem)?;
        if said.is_empty() || said.starts_with('#') {
            continue;
        }
        if lines.rules.len() + lines.links.len() == RULES_MAX {
            return Err(problem(Problem::TooManyRules));
        }
        let fields = split(said).map_err(problem)?;
        let place = Place { file, number, text: said };
        match fields[..] {
            ["p", ref fields @ ..] => {
                lines.rules.push(Arc::new(rule(&place, fields, model).map_err(problem)?))
            }
            ["g", ref fields @ ..] => lines.links.push(role_link(&place, fields, model).map_err(problem)?),
            [word, ..] => return Err(problem(Problem::UnknownSection { word: word.to_owned() })),
            [] => {}
        }
        if let Some(first) = seen.insert(said_in_full(fields, model), number) {
            return Err(problem(Problem::Duplicate { first }));
        }
    }
    if lines.rules.is_empty() { Err(PolicyError::new(file, None, Problem::NoRules)) } else { Ok(lines) }
}

struct Place<'a> {
    file: &'a Arc<str>,
    number: usize,
    text: &'a str,
}

fn check_bytes(line: &str) -> Result<(), Problem> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Problem::LineTooLong);
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Problem::ControlCharacters);
    }
    Ok(())
}

/// The fields between the commas, spaces around them left out. A whole field may be quoted, and then hold commas.
fn split(line: &str) -> Result<Vec<&str>, Problem> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, tail) = quoted.split_once('"').ok_or(Problem::Quotes)?;
            fields.push(field);
            match tail.trim_start() {
                "" => return Ok(fields),
                tail => rest = tail.strip_prefix(',').ok_or(Problem::Quotes)?,
            }
        } else {
            let (field, tail) =
                rest.split_once(',').map_or((rest, None), |(field, tail)| (field, Some(tail)));
            if field.contains('"') {
                return Err(Problem::Quotes);
            }
            fields.push(field.trim_end());
            match tail {
                Some(tail) => rest = tail,
                None => return Ok(fields),
            }
        }
    }
}

/// Two lines are the same if they say the same, whether or not they say `allow`.
fn said_in_full<'a>(mut fields: Vec<&'a str>, model: &Model) -> Vec<&'a str> {
    if fields[0] == "p" && fields.len() == model.fields.len() && model.effect_is_last() {
        fields.push(ModelEffect::of_silence().as_str());
    }
    fields
}

fn rule(place: &Place<'_>, fields: &[&str], model: &Model) -> Result<Rule, Problem> {
    let full = model.fields.len();
    // Where the effect stands last it may be left out: that allows.
    let counts = if model.effect_is_last() { full - 1..=full } else { full..=full };
    if !counts.contains(&fields.len()) {
        return Err(Problem::FieldCount { count: fields.len(), expected: rule_form(model) });
    }
    refuse_empty(fields)?;
    let mut rule = Rule {
        file: Arc::clone(place.file),
        line: place.number,
        text: place.text.to_owned(),
        subject: String::new(),
        object: String::new(),
        action: None,
        effect: ModelEffect::of_silence(),
    };
    for (field, value) in model.fields.iter().zip(fields) {
        match field {
            Field::Subject => rule.subject = subject(value, model)?,
            Field::Object => rule.object = object(value, model)?,
            Field::Action => rule.action = action(value, model)?,
            Field::Effect => rule.effect = effect(value, model)?,
        }
    }
    Ok(rule)
}

fn role_link(place: &Place<'_>, fields: &[&str], model: &Model) -> Result<RoleLink, Problem> {
    if !model.has_roles {
        return Err(Problem::NoRoles);
    }
    let &[member, role] = fields else {
        return Err(Problem::FieldCount { count: fields.len(), expected: ROLE_LINK_FORM.to_owned() });
    };
    refuse_empty(fields)?;
    if member == ANY || role == ANY {
        return Err(Problem::AnySubject);
    }
    Ok(RoleLink { line: place.number, member: name(member)?, role: name(role)? })
}

fn refuse_empty(fields: &[&str]) -> Result<(), Problem> {
    match fields.iter().position(|field| field.is_empty()) {
        // The word before the first comma is the first field of the line.
        Some(at) => Err(Problem::EmptyField { position: at + 2 }),
        None => Ok(()),
    }
}

fn subject(value: &str, model: &Model) -> Result<String, Problem> {
    if value == ANY && !model.has_any_subject {
        return Err(Problem::AnySubject);
    }
    name(value)
}

fn name(value: &str) -> Result<String, Problem> {
    if value.len() > SUBJECT_BYTES_MAX { Err(Problem::SubjectTooLong) } else { Ok(value.to_owned()) }
}

fn object(value: &str, model: &Model) -> Result<String, Problem> {
    let wrong = || Problem::Object { object: value.to_owned() };
    let (name, is_prefix) = value.strip_suffix('*').map_or((value, false), |name| (name, !name.is_empty()));
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.len() > TOPIC_BYTES_MAX || !name.bytes().all(good) || (!is_prefix && matches!(name, "." | "..")) {
        return Err(wrong());
    }
    if is_prefix && !model.has_prefixes {
        return Err(Problem::Prefix { object: value.to_owned() });
    }
    Ok(value.to_owned())
}

fn action(word: &str, model: &Model) -> Result<Option<Action>, Problem> {
    if word == ANY {
        return if model.has_any_action { Ok(None) } else { Err(Problem::AnyAction) };
    }
    let hint = match word {
        _ if word.contains('#') => "; comments have lines of their own",
        "read" => "; to read is to consume",
        "write" => "; to write is to produce",
        _ => "",
    };
    word.parse().map(Some).map_err(|_| Problem::UnknownAction { word: word.to_owned(), hint })
}

fn effect(word: &str, model: &Model) -> Result<Effect, Problem> {
    match word {
        "allow" => Ok(Effect::Allow),
        "deny" if model.heeds_deny() => Ok(Effect::Deny),
        "deny" => Err(Problem::DenyUnheeded),
        _ => Err(Problem::UnknownEffect { word: word.to_owned() }),
    }
}

fn rule_form(model: &Model) -> String {
    let names: Vec<_> = model.fields.iter().map(|field| field.name()).collect();
    format!("write `p, {}`", names.join(", "))
}

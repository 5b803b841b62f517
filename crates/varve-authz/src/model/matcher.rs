//! What may stand in a matcher.
//!
//! The engine takes any expression of its language and finds out what is wrong with it only when it comes to that part; some of
//! its functions end the process on a bad pattern. So a matcher here is comparisons and two functions, known to be harmless.

use crate::error::Problem;
use crate::limits::{BRACKETS_DEEP_MAX, LINE_BYTES_MAX};

const OPERATORS: [&str; 8] = ["==", "!=", "&&", "||", "!", "(", ")", ","];

const NAMES: [&str; 8] = ["r.sub", "r.obj", "r.act", "p.sub", "p.obj", "p.act", "g", "keyMatch"];

/// What a matcher lets rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) roles: bool,
    pub(super) prefixes: bool,
    pub(super) any_subject: bool,
    pub(super) any_action: bool,
    pub(super) binds_subject: bool,
}

/// What holds only for a rule that names the subject, a role of it, or `*`.
const SUBJECT_BINDERS: [&str; 7] = [
    "r.sub == p.sub",
    "p.sub == r.sub",
    "g ( r.sub , p.sub )",
    "( p.sub == \"*\" || g ( r.sub , p.sub ) )",
    "( g ( r.sub , p.sub ) || p.sub == \"*\" )",
    "( p.sub == \"*\" || r.sub == p.sub )",
    "( r.sub == p.sub || p.sub == \"*\" )",
];

impl Uses {
    pub(super) fn of(matcher: &str) -> Result<Self, Problem> {
        let tokens = tokens(matcher)?;
        refuse_if_deep(matcher, &tokens)?;
        let has = |wanted: &str| {
            let wanted: Vec<&str> = wanted.split(' ').collect();
            tokens.windows(wanted.len()).any(|window| window == wanted)
        };
        for name in ["g", "keyMatch"] {
            let mut calls = tokens.iter().enumerate().filter(|(_, token)| **token == name);
            if calls.any(|(at, _)| tokens.get(at + 1) != Some(&"(")) {
                return Err(Problem::Matcher { word: name.to_owned() });
            }
        }
        let equals_any = |name: &str| has(&format!("{name} == \"*\"")) || has(&format!("\"*\" == {name}"));
        Ok(Self {
            roles: tokens.contains(&"g"),
            prefixes: has("keyMatch ( r.obj , p.obj )"),
            any_subject: equals_any("p.sub") || has("keyMatch ( r.sub , p.sub )"),
            any_action: equals_any("p.act") || has("keyMatch ( r.act , p.act )"),
            binds_subject: binds_subject(&tokens),
        })
    }
}

fn refuse_if_deep(matcher: &str, tokens: &[&str]) -> Result<(), Problem> {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for token in tokens {
        match *token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let twice_not = tokens.windows(2).any(|two| two == ["!", "!"]);
    if matcher.len() > LINE_BYTES_MAX || deepest > BRACKETS_DEEP_MAX || twice_not {
        return Err(Problem::MatcherTooDeep);
    }
    Ok(())
}

/// Whether the matcher is several conditions of which each has to hold, and one of them binds the subject. Where it is said in
/// another way that is not seen, and costs time alone.
fn binds_subject(tokens: &[&str]) -> bool {
    let mut depth = 0_usize;
    let mut conditions = vec![Vec::new()];
    for token in tokens {
        match *token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "||" if depth == 0 => return false,
            "&&" if depth == 0 => {
                conditions.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(condition) = conditions.last_mut() {
            condition.push(*token);
        }
    }
    conditions.iter().any(|condition| SUBJECT_BINDERS.contains(&condition.join(" ").as_str()))
}

fn tokens(matcher: &str) -> Result<Vec<&str>, Problem> {
    let mut tokens = Vec::new();
    let mut rest = matcher.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = token_len(rest).ok_or_else(|| Problem::Matcher { word: first_word(rest, first) })?;
        let (token, tail) = rest.split_at(len);
        tokens.push(token);
        rest = tail.trim_start();
    }
    if tokens.is_empty() { Err(Problem::Matcher { word: String::new() }) } else { Ok(tokens) }
}

fn token_len(rest: &str) -> Option<usize> {
    if let Some(text) = rest.strip_prefix('"') {
        let end = text.find('"')?;
        // Escapes would make it another text than it looks.
        return (!text[..end].contains('\\')).then_some(end + 2);
    }
    if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
        return Some(operator.len());
    }
    let len =
        rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_')).unwrap_or(rest.len());
    NAMES.contains(&&rest[..len]).then_some(len)
}

fn first_word(rest: &str, first: char) -> String {
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '_')).collect();
    if word.is_empty() { first.to_string() } else { word }
}

//! The file format of models: sections in brackets, one `key = value` in each.

use std::sync::Arc;

use crate::error::{PolicyError, Problem};
use crate::limits::LINE_BYTES_MAX;

/// A section, and the one key that it has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    name: &'static str,
    key: &'static str,
}

pub(super) const REQUEST: Section = Section { name: "request_definition", key: "r" };
pub(super) const POLICY: Section = Section { name: "policy_definition", key: "p" };
pub(super) const ROLES: Section = Section { name: "role_definition", key: "g" };
pub(super) const EFFECT: Section = Section { name: "policy_effect", key: "e" };
pub(super) const MATCHERS: Section = Section { name: "matchers", key: "m" };

const SECTIONS: [Section; 5] = [REQUEST, POLICY, ROLES, EFFECT, MATCHERS];

/// What stands behind a key, and on which line.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) line: usize,
    pub(super) value: String,
}

/// A model file, taken apart.
#[derive(Debug, Default)]
pub(super) struct Conf {
    settings: Vec<(Section, Setting)>,
}

impl Conf {
    pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Self, PolicyError> {
        let mut conf = Self::default();
        let mut section = None;
        for (line, text) in joined_lines(file, text)? {
            let problem = |problem| PolicyError::new(file, line, problem);
            if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let found = SECTIONS.into_iter().find(|section| section.name == name.trim());
                let unknown = || problem(Problem::ModelSection { section: name.to_owned() });
                section = Some(found.ok_or_else(unknown)?);
                continue;
            }
            let (Some((key, value)), Some(section)) = (text.split_once('='), section) else {
                return Err(problem(Problem::ModelLine));
            };
            conf.set(section, key.trim(), Setting { line, value: without_comment(value) })
                .map_err(problem)?;
        }
        Ok(conf)
    }

    pub(super) fn required(&self, file: &Arc<str>, section: Section) -> Result<&Setting, PolicyError> {
        let missing = || Problem::ModelKeyMissing { section: section.name, key: section.key };
        self.optional(section).ok_or_else(|| PolicyError::new(file, None, missing()))
    }

    pub(super) fn optional(&self, section: Section) -> Option<&Setting> {
        self.settings.iter().find(|(known, _)| *known == section).map(|(_, setting)| setting)
    }

    fn set(&mut self, section: Section, key: &str, setting: Setting) -> Result<(), Problem> {
        let Section { name, key: expected } = section;
        if key != expected {
            return Err(Problem::ModelKey { key: key.to_owned(), section: name, expected });
        }
        if self.optional(section).is_some() {
            return Err(Problem::ModelKeyTwice { key: expected });
        }
        self.settings.push((section, setting));
        Ok(())
    }
}

/// The lines that say something, each with its number; one that ends with a backslash goes on in the next.
fn joined_lines(file: &Arc<str>, text: &str) -> Result<Vec<(usize, String)>, PolicyError> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let number = at + 1;
        if line.len() > LINE_BYTES_MAX {
            return Err(PolicyError::new(file, number, Problem::LineTooLong));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(PolicyError::new(file, number, Problem::ControlCharacters));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let said = line.strip_suffix('\\').map_or(line, str::trim_end);
        match lines.last_mut() {
            Some((_, last)) if goes_on => {
                last.push(' ');
                last.push_str(said);
            }
            _ => lines.push((number, said.to_owned())),
        }
        goes_on = said.len() < line.len();
    }
    Ok(lines)
}

fn without_comment(value: &str) -> String {
    value.split('#').next().unwrap_or_default().trim().to_owned()
}

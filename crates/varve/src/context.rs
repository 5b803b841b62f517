//! Contexts: names for clusters, kept in a file of the user's, one of them selected.
//!
//! [`ContextFile`] is the file, [`Contexts`] what it holds, and [`Target`] the cluster that a command talks to, with where
//! its address comes from.

mod file;
mod target;

pub(crate) use file::ContextFile;
pub(crate) use target::{SERVER_VARIABLE, Target};

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::{Exit, Failure};
use crate::suggest::nearest;
use crate::tls::TlsSettings;

/// Longest name of a context, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The name of a context: 1 to 64 letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ContextName(String);

/// A cluster, and what it takes to talk to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// `varve://host:port[,host:port]`.
    pub(crate) server: String,
    /// Whether `varve dev` made it, and may change it and take it away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) made_by_dev: bool,
    /// How TLS is spoken there, by files with absolute paths; in the clear where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsSettings>,
    /// What other versions keep here.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// All contexts of a user.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contexts {
    /// The one that commands use where they are told no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selected: Option<ContextName>,
    #[serde(default)]
    contexts: BTreeMap<ContextName, Context>,
    /// What other versions keep here.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl ContextName {
    /// The name that `varve dev` uses.
    pub(crate) fn dev() -> Self {
        Self("dev".into())
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Context {
    /// A context for this address, which must be one.
    pub(crate) fn new(server: String, tls: Option<TlsSettings>) -> Self {
        Self { server, made_by_dev: false, tls, other: Map::new() }
    }

    /// The same, of `varve dev`.
    pub(crate) fn of_dev(server: String, tls: Option<TlsSettings>) -> Self {
        Self { made_by_dev: true, ..Self::new(server, tls) }
    }
}

impl Contexts {
    /// The context of this name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn get(&self, name: &ContextName) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| self.missing(name))
    }

    /// The context of this name, if there is one.
    pub(crate) fn find(&self, name: &ContextName) -> Option<&Context> {
        self.contexts.get(name)
    }

    /// The selected one. `None` also if its name is there and it is not, as after an edit by hand.
    pub(crate) fn selected(&self) -> Option<(&ContextName, &Context)> {
        self.contexts.get_key_value(self.selected.as_ref()?)
    }

    /// Whether this one is selected.
    pub(crate) fn is_selected(&self, name: &ContextName) -> bool {
        self.selected.as_ref() == Some(name)
    }

    /// All, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ContextName, &Context)> {
        self.contexts.iter()
    }

    /// Adds a context, in place of any of that name.
    pub(crate) fn put(&mut self, name: ContextName, context: Context) {
        self.contexts.insert(name, context);
    }

    /// Selects one, or none.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn select(&mut self, name: Option<ContextName>) -> Result<(), Failure> {
        if let Some(name) = &name {
            self.get(name)?;
        }
        self.selected = name;
        Ok(())
    }

    /// Takes one away, and tells whether it was the selected one; then none is.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn remove(&mut self, name: &ContextName) -> Result<bool, Failure> {
        self.contexts.remove(name).ok_or_else(|| self.missing(name))?;
        let was_selected = self.is_selected(name);
        if was_selected {
            self.selected = None;
        }
        Ok(was_selected)
    }

    fn missing(&self, name: &ContextName) -> Failure {
        let failure = Failure::new(Exit::NotFound, format!("there is no context {name}"));
        match nearest(name.as_str(), self.contexts.keys().map(ContextName::as_str)) {
            Some(near) => failure.hint(format!("did you mean {near}? `varve context list` shows them all")),
            None => failure.hint("`varve context list` shows them, `varve context create` makes one"),
        }
    }
}

impl FromStr for ContextName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') {
            Ok(Self(text.into()))
        } else {
            Err("use 1 to 64 letters, digits, '.', '_' and '-'".into())
        }
    }
}

impl TryFrom<String> for ContextName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_versions_keep_is_kept() {
        let text = r#"{"selected":"a","contexts":{"a":{"server":"varve://a:1","cert":"c"}},"later":[1]}"#;
        let contexts: Contexts = serde_json::from_str(text).expect("good");
        assert_eq!(serde_json::to_string(&contexts).expect("good"), text);
        assert_eq!(contexts.selected().map(|(name, _)| name.as_str()), Some("a"));
    }

    #[test]
    fn a_selected_one_that_is_not_there_is_none() {
        let contexts: Contexts = serde_json::from_str(r#"{"selected":"gone"}"#).expect("good");
        assert!(contexts.selected().is_none());
    }

    #[test]
    fn the_selected_one_can_be_taken_away() {
        let mut contexts = Contexts::default();
        let name = ContextName::dev();
        contexts.put(name.clone(), Context::new("varve://a:1".into(), None));
        contexts.select(Some(name.clone())).expect("it is there");
        assert!(contexts.remove(&name).expect("it is there"));
        assert_eq!(contexts, Contexts::default());
        assert!(contexts.remove(&name).is_err());
        assert!(contexts.select(Some(name)).is_err());
    }

    #[test]
    fn names() {
        for good in ["dev", "a", "eu-west.1_x"] {
            assert!(good.parse::<ContextName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<ContextName>().is_err(), "{bad}");
        }
    }
}

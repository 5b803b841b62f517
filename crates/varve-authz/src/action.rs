//! What can be done.

use std::fmt;
use std::str::FromStr;

/// What a subject does to a topic or to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Action {
    /// Append records.
    Produce,
    /// Read records.
    Consume,
    /// Make a topic.
    Create,
    /// Change a topic's settings and add partitions.
    Alter,
    /// Delete a topic with its records.
    Delete,
    /// Give up a topic's oldest records.
    Trim,
    /// See settings, offsets and sizes. Whoever may do another thing to a topic may see it too.
    Describe,
    /// Make a cluster, move its leaders, take its servers away, look into them.
    Admin,
}

/// A word that is no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no action: use {names}", names = Action::list())]
pub struct UnknownAction(pub String);

impl Action {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Produce,
        Self::Consume,
        Self::Create,
        Self::Alter,
        Self::Delete,
        Self::Trim,
        Self::Describe,
        Self::Admin,
    ];

    /// Those that let a subject see what it does them to.
    pub(crate) const IMPLY_DESCRIBE: [Self; 5] =
        [Self::Produce, Self::Consume, Self::Alter, Self::Delete, Self::Trim];

    /// The word that policies have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Delete => "delete",
            Self::Trim => "trim",
            Self::Describe => "describe",
            Self::Admin => "admin",
        }
    }

    /// Their words, for messages: `produce, consume, ...`.
    #[must_use]
    pub fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Where it stands in [`Self::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(word: &str) -> Result<Self, UnknownAction> {
        let found = Self::ALL.into_iter().find(|action| action.as_str() == word);
        found.ok_or_else(|| UnknownAction(word.to_owned()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_places_come_back() {
        for (at, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action.as_str().parse(), Ok(action));
            assert_eq!(action.index(), at);
        }
        let said = "Produce".parse::<Action>().unwrap_err().to_string();
        assert!(said.starts_with("\"Produce\" is no action: use produce, consume,"), "{said}");
    }
}

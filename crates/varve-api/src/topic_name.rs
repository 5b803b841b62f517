use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{ApiError, Reason, meta};

/// Longest topic name, in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The name of a topic, known to be a good one: 1 to 249 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..` (Kafka's
/// rule). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// A name that no topic can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no topic name: {problem}")]
pub struct InvalidTopicName {
    /// The name, cut if it is too long.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl TopicName {
    /// Takes a name, if it is a good one.
    ///
    /// # Errors
    /// If it is too short, too long, or has characters that are not allowed.
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        match problem(name) {
            None => Ok(Self(name.into())),
            Some(problem) => {
                Err(InvalidTopicName { name: name.chars().take(TOPIC_NAME_BYTES_MAX).collect(), problem })
            }
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopicName;

    fn from_str(name: &str) -> Result<Self, InvalidTopicName> {
        Self::new(name)
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<InvalidTopicName> for ApiError {
    fn from(error: InvalidTopicName) -> Self {
        Self::new(Reason::InvalidTopicName, error.to_string()).with(meta::TOPIC, error.name)
    }
}

fn problem(name: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it means a directory"),
        _ if name.len() > TOPIC_NAME_BYTES_MAX => Some("it has more than 249 characters"),
        _ if !name.bytes().all(allowed) => Some("use only letters, digits, '.', '_' and '-'"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names() {
        let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
        for name in ["a", "events", "a.b_c-D9", "...", ".a", longest.as_str()] {
            assert_eq!(TopicName::new(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn bad_names() {
        let too_long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "a/b", "a b", "é", "a\0", "a\n", too_long.as_str()] {
            let error = ApiError::from(TopicName::new(name).expect_err(name));
            assert_eq!(error.reason, Reason::InvalidTopicName);
        }
    }
}

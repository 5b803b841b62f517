//! What a member says of itself.

use std::collections::BTreeMap;

/// Most bytes of all tags of one member, where each tag weighs its key, its value and [`TAG_OVERHEAD_BYTES`].
///
/// Gossip sends them in one datagram with each change of the member; the protocol ends the process of a node whose encoded
/// tags pass 512 bytes, so they are refused here before they come near.
pub const TAGS_BYTES_MAX: usize = 496;

/// The key of the tag by which a member says that it leaves for good. Keys that begin so are kept from callers.
///
/// Serf says so as well, but may lose it: a member that hears of a leave by an exchange of states before the news itself comes
/// takes it for a join of the same time, then refuses the news as old, and ends with a failure. A tag is never refused.
pub(crate) const LEAVING_KEY: &str = "\0";

/// What one tag weighs besides its key and value: the encoding's tags and lengths.
pub const TAG_OVERHEAD_BYTES: usize = 9;

/// A small map from key to value, never over [`TAGS_BYTES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    entries: BTreeMap<String, String>,
}

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one tag, and returns the value that it had.
    ///
    /// # Errors
    ///
    /// The key is empty or begins with a NUL character, or the tags would weigh more than [`TAGS_BYTES_MAX`]; nothing has changed then.
    pub fn insert(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Option<String>, TagsError> {
        let (key, value) = (key.into(), value.into());
        if key.is_empty() || key.starts_with(LEAVING_KEY) {
            return Err(TagsError::BadKey);
        }
        let replaced = self.entries.get(&key).map_or(0, |old| weight(&key, old));
        let weighs = self.weight_bytes() - replaced + weight(&key, &value);
        if weighs > TAGS_BYTES_MAX {
            return Err(TagsError::TooLarge { key, weighs });
        }
        Ok(self.entries.insert(key, value))
    }

    /// The value of one tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    /// Takes one tag away, and returns the value that it had.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.entries.remove(key)
    }

    /// All tags, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a peer sent, which the protocol has bounded already, without what is gossip's own.
    pub(crate) fn from_peer<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let entries = entries.filter(|(key, _)| !key.starts_with(LEAVING_KEY));
        let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { entries }
    }

    fn weight_bytes(&self) -> usize {
        self.entries.iter().map(|(key, value)| weight(key, value)).sum()
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> TryFrom<[(K, V); N]> for Tags {
    type Error = TagsError;

    fn try_from(entries: [(K, V); N]) -> Result<Self, TagsError> {
        let mut tags = Self::new();
        for (key, value) in entries {
            tags.insert(key, value)?;
        }
        Ok(tags)
    }
}

fn weight(key: &str, value: &str) -> usize {
    key.len() + value.len() + TAG_OVERHEAD_BYTES
}

/// A tag is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagsError {
    /// The key is empty, or one that is kept for gossip itself.
    #[error("a tag needs a key, and one that does not begin with a NUL character")]
    BadKey,
    /// All tags together would be too large.
    #[error(
        "tag `{key}` would bring the tags to {weighs} bytes, over the limit of {TAGS_BYTES_MAX}: shorten it"
    )]
    TooLarge {
        /// The tag that was set.
        key: String,
        /// What all tags would weigh, in bytes.
        weighs: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_over_the_limit_are_refused_and_change_nothing() {
        let mut tags = Tags::try_from([("a", "1")]).unwrap();
        let before = tags.clone();
        let room = TAGS_BYTES_MAX - tags.weight_bytes() - TAG_OVERHEAD_BYTES - 1;
        let refused = tags.insert("b", "x".repeat(room + 1)).unwrap_err();
        assert_eq!(refused, TagsError::TooLarge { key: "b".to_owned(), weighs: TAGS_BYTES_MAX + 1 });
        assert_eq!(tags, before);
        assert_eq!(tags.insert("b", "x".repeat(room)), Ok(None));
    }

    #[test]
    fn a_replaced_tag_gives_its_room_back() {
        let mut tags = Tags::new();
        let full = "x".repeat(TAGS_BYTES_MAX - TAG_OVERHEAD_BYTES - 1);
        tags.insert("a", full.clone()).unwrap();
        assert_eq!(tags.insert("a", "y".repeat(full.len())), Ok(Some(full)));
        assert_eq!(tags.remove("a").map(|value| value.len()), Some(TAGS_BYTES_MAX - TAG_OVERHEAD_BYTES - 1));
        assert!(tags.is_empty());
    }

    #[test]
    fn a_tag_without_a_key_of_its_own_is_refused() {
        assert_eq!(Tags::new().insert("", "value"), Err(TagsError::BadKey));
        assert_eq!(Tags::new().insert(LEAVING_KEY, ""), Err(TagsError::BadKey));
    }
}

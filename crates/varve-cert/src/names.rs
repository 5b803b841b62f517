//! The names of clusters and nodes, as certificates carry them.

use std::fmt;
use std::str::FromStr;

/// Longest name of a cluster, in bytes: what one label of a host name may have.
pub const CLUSTER_NAME_BYTES_MAX: usize = 63;

/// Longest name of a node, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 128;

/// The name of a cluster: 1 to 63 of `a-z 0-9 -`, a letter or digit first and last. It stands where a URI has its host, whose
/// case does not count, so there are no capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

/// The name of a node: 1 to 128 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`, which a URI would take for a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// A name that no cluster or node has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no name of a {of}: use {rule}")]
pub struct InvalidName {
    /// The name, cut if it is too long.
    pub name: String,
    of: &'static str,
    rule: &'static str,
}

impl ClusterName {
    /// Takes a name, if it is a good one.
    ///
    /// # Errors
    ///
    /// It breaks the rule above.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=CLUSTER_NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(inside)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if good {
            return Ok(Self(name.to_owned()));
        }
        let rule = "1 to 63 small letters, digits and '-', which stands neither first nor last";
        Err(InvalidName { name: cut(name), of: "cluster", rule })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ClusterName {
    /// The name of a cluster that was given none.
    fn default() -> Self {
        Self("varve".to_owned())
    }
}

impl NodeName {
    /// Takes a name, if it is a good one.
    ///
    /// # Errors
    ///
    /// It breaks the rule above.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let good = (1..=NODE_NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(inside)
            && !matches!(name, "." | "..");
        if good {
            return Ok(Self(name.to_owned()));
        }
        Err(InvalidName { name: cut(name), of: "node", rule: "1 to 128 letters, digits, '.', '_' and '-'" })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl FromStr for NodeName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn cut(name: &str) -> String {
    name.chars().take(NODE_NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_like_a_host() {
        let longest = "x".repeat(CLUSTER_NAME_BYTES_MAX);
        for name in ["a", "varve", "prod-eu-1", "0", longest.as_str()] {
            assert_eq!(ClusterName::new(name).expect(name).as_str(), name);
        }
        let too_long = "x".repeat(CLUSTER_NAME_BYTES_MAX + 1);
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "a/b", "a b", "é", "a\0", "a:1", "u@a", &too_long] {
            ClusterName::new(name).expect_err(name);
        }
        ClusterName::new(ClusterName::default().as_str()).expect("the default is a good name");
    }

    #[test]
    fn a_node_is_named_as_servers_are() {
        let longest = "x".repeat(NODE_NAME_BYTES_MAX);
        for name in ["a", "node-1", "Node_1.eu", "...", "-", longest.as_str()] {
            assert_eq!(NodeName::new(name).expect(name).as_str(), name);
        }
        let too_long = "x".repeat(NODE_NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "a/b", "a b", "a%20b", "a?b", "a#b", "é", "a\0", &too_long] {
            NodeName::new(name).expect_err(name);
        }
    }
}

//! The URI by which a certificate says that it is a node's.

use std::fmt;
use std::str::FromStr;

use crate::names::{ClusterName, InvalidName, NodeName};

/// The scheme of such a URI. Nothing else that begins with it is taken for any subject.
pub const NODE_URI_SCHEME: &str = "varve";

const BEGIN: &str = "varve://";
const MIDDLE: &str = "/node/";

/// A node as its certificate names it: `varve://CLUSTER/node/NAME`.
///
/// There is one way to write a node's URI: no capitals in scheme or cluster, no port, no user, no escapes, no query. So two
/// nodes are the same if their URIs are, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeUri {
    /// The cluster that it is a node of.
    pub cluster: ClusterName,
    /// The node.
    pub node: NodeName,
}

/// A URI that names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNodeUri {
    /// It is built in another way.
    #[error("it names no node: that is written varve://CLUSTER/node/NAME")]
    Form,
    /// A name in it is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl FromStr for NodeUri {
    type Err = InvalidNodeUri;

    fn from_str(uri: &str) -> Result<Self, InvalidNodeUri> {
        let names = uri.strip_prefix(BEGIN).and_then(|rest| rest.split_once(MIDDLE));
        let (cluster, node) = names.ok_or(InvalidNodeUri::Form)?;
        Ok(Self { cluster: ClusterName::new(cluster)?, node: NodeName::new(node)? })
    }
}

impl fmt::Display for NodeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGIN}{}{MIDDLE}{}", self.cluster, self.node)
    }
}

/// Whether a URI is of the scheme that is kept for nodes. Schemes are compared without case (RFC 3986, section 3.1).
pub(crate) fn claims_to_be_a_node(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(NODE_URI_SCHEME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_comes_back_from_its_text() {
        for text in ["varve://varve/node/node-1", "varve://prod-eu/node/n.1_A", "varve://c/node/node"] {
            let uri: NodeUri = text.parse().expect(text);
            assert_eq!(uri.to_string(), text);
        }
        let uri: NodeUri = "varve://prod/node/node-1".parse().unwrap();
        assert_eq!((uri.cluster.as_str(), uri.node.as_str()), ("prod", "node-1"));
    }

    #[test]
    fn there_is_one_way_to_write_it() {
        for text in [
            "",
            "varve://",
            "varve:///node/a",
            "varve://c/node/",
            "varve://c/node",
            "varve://c/NODE/a",
            "varve://c/node/a/",
            "varve://c/node/a/b",
            "varve://c/x/node/a",
            "varve://c//node/a",
            "varve://C/node/a",
            "varve://c:1/node/a",
            "varve://u@c/node/a",
            "varve://c/node/a?b",
            "varve://c/node/a#b",
            "varve://c/node/%61",
            "varve://c/node/..",
            "VARVE://c/node/a",
            "varve:c/node/a",
            " varve://c/node/a",
            "varve://c/node/a\0",
            "spiffe://c/node/a",
        ] {
            text.parse::<NodeUri>().expect_err(text);
        }
        assert!(claims_to_be_a_node("VarVe:anything") && !claims_to_be_a_node("varves://c/node/a"));
    }
}

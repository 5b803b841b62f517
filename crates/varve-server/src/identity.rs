//! Who a node is: kept in its data directory, made once.

use std::fmt;

use bytes::Bytes;
use varve_env::Entropy;
use varve_record::NodeId;

/// The first line of the file, with the version of what follows.
const FIRST_LINE: &str = "varve-node 1";

/// A node's place in its cluster, as its data directory holds it. The bytes are text, and storage keeps them under a
/// checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster: 32 hexadecimal digits, made at its bootstrap and never changed.
    pub cluster_id: String,
    /// The node, never reused within its cluster.
    pub node_id: NodeId,
}

impl NodeIdentity {
    /// The first node of a new cluster.
    pub(crate) fn bootstrap(entropy: &dyn Entropy) -> Self {
        let cluster_id = format!("{:016x}{:016x}", entropy.next_u64(), entropy.next_u64());
        Self { cluster_id, node_id: NodeId::new(1) }
    }

    pub(crate) fn encode(&self) -> Bytes {
        format!("{FIRST_LINE}\ncluster_id {}\nnode_id {}\n", self.cluster_id, self.node_id).into()
    }

    /// `None` for what this version has not written.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let cluster_id = lines.next()?.strip_prefix("cluster_id ")?.to_owned();
        let node_id = lines.next()?.strip_prefix("node_id ")?.parse().ok()?;
        Some(Self { cluster_id, node_id: NodeId::new(node_id) })
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node_id, self.cluster_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_env::SeededEntropy;

    #[test]
    fn reads_back_what_it_wrote() {
        let identity = NodeIdentity::bootstrap(&SeededEntropy::new(1));
        assert_eq!(identity.cluster_id.len(), 32);
        assert_eq!(NodeIdentity::decode(&identity.encode()), Some(identity));
    }

    #[test]
    fn the_bytes_stay_what_they_were() {
        let bytes = b"varve-node 1\ncluster_id 00ff\nnode_id 7\n";
        let identity = NodeIdentity::decode(bytes).unwrap();
        assert_eq!((identity.cluster_id.as_str(), identity.node_id), ("00ff", NodeId::new(7)));
        assert_eq!(&identity.encode()[..], bytes);
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in
            [&b""[..], b"varve-node 2\ncluster_id a\nnode_id 1\n", b"\xff", b"varve-node 1\nnode_id 1\n"]
        {
            assert_eq!(NodeIdentity::decode(bytes), None, "{bytes:?}");
        }
    }
}

//! Who a node is, and whom it knows: kept in its data directory.

use std::fmt;

use bytes::Bytes;
use varve_env::Entropy;
use varve_record::NodeId;

/// The first line of the file, with the version of what follows.
const FIRST_LINE: &str = "varve-node 1";

/// The id of the node that made the cluster. It alone begins the controller's group.
pub(crate) const FOUNDER: NodeId = NodeId::new(1);

/// Most peers that are remembered, so that the file stays small.
const PEERS_MAX: usize = 1024;

/// A node's place in its cluster, as its data directory holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster: 32 hexadecimal digits, made at its bootstrap and never changed.
    pub cluster_id: String,
    /// The node, never reused within its cluster.
    pub node_id: NodeId,
}

impl NodeIdentity {
    /// The first node of a new cluster.
    pub(crate) fn found(entropy: &dyn Entropy) -> Self {
        let cluster_id = format!("{:016x}{:016x}", entropy.next_u64(), entropy.next_u64());
        Self { cluster_id, node_id: FOUNDER }
    }

    /// The cluster's id as peers say it to each other; `None` where it is none.
    pub(crate) fn cluster_bytes(&self) -> Option<[u8; 16]> {
        let well_formed = self.cluster_id.len() == 32 && self.cluster_id.is_ascii();
        let id = u128::from_str_radix(&self.cluster_id, 16).ok().filter(|_| well_formed)?;
        Some(id.to_be_bytes())
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node_id, self.cluster_id)
    }
}

/// Where another node was last, so that a node that starts again finds its cluster by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownPeer {
    pub(crate) id: NodeId,
    pub(crate) rpc_addr: String,
    /// Empty where it is not known.
    pub(crate) gossip_addr: String,
}

/// What the file `node` of a data directory says. The bytes are text, and storage keeps them under a checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFile {
    pub(crate) identity: NodeIdentity,
    pub(crate) peers: Vec<KnownPeer>,
}

impl NodeFile {
    pub(crate) fn new(identity: NodeIdentity) -> Self {
        Self { identity, peers: Vec::new() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let NodeIdentity { cluster_id, node_id } = &self.identity;
        let mut text = format!("{FIRST_LINE}\ncluster_id {cluster_id}\nnode_id {node_id}\n");
        for peer in self.peers.iter().take(PEERS_MAX) {
            let KnownPeer { id, rpc_addr, gossip_addr } = peer;
            text += &format!("peer {id} {rpc_addr} {gossip_addr}\n");
        }
        text.into()
    }

    /// `None` for what this version has not written. Peers are hints: a line that is none is left out.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let cluster_id = lines.next()?.strip_prefix("cluster_id ")?.to_owned();
        let node_id = lines.next()?.strip_prefix("node_id ")?.parse().ok()?;
        let identity = NodeIdentity { cluster_id, node_id: NodeId::new(node_id) };
        Some(Self { identity, peers: lines.filter_map(peer).take(PEERS_MAX).collect() })
    }
}

fn peer(line: &str) -> Option<KnownPeer> {
    let mut words = line.strip_prefix("peer ")?.split(' ');
    let id = NodeId::new(words.next()?.parse().ok()?);
    let rpc_addr = words.next()?.to_owned();
    Some(KnownPeer { id, rpc_addr, gossip_addr: words.next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_env::SeededEntropy;

    #[test]
    fn reads_back_what_it_wrote() {
        let identity = NodeIdentity::found(&SeededEntropy::new(1));
        assert_eq!(identity.cluster_id.len(), 32);
        assert!(identity.cluster_bytes().is_some());
        let known = |id, gossip: &str| KnownPeer {
            id: NodeId::new(id),
            rpc_addr: "host:8400".to_owned(),
            gossip_addr: gossip.to_owned(),
        };
        let peers = vec![known(2, "host:8401"), known(3, "")];
        let file = NodeFile { identity, peers };
        assert_eq!(NodeFile::decode(&file.encode()), Some(file));
    }

    #[test]
    fn the_bytes_stay_what_they_were() {
        let bytes = b"varve-node 1\ncluster_id 00ff\nnode_id 7\n";
        let file = NodeFile::decode(bytes).unwrap();
        assert_eq!((file.identity.cluster_id.as_str(), file.identity.node_id), ("00ff", NodeId::new(7)));
        assert_eq!(&file.encode()[..], bytes);
        assert_eq!(file.identity.cluster_bytes(), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in
            [&b""[..], b"varve-node 2\ncluster_id a\nnode_id 1\n", b"\xff", b"varve-node 1\nnode_id 1\n"]
        {
            assert_eq!(NodeFile::decode(bytes), None, "{bytes:?}");
        }
    }
}

//! Which certificates are those of nodes of this cluster.

use varve_cert::{ClusterName, NodeUri, node_of};
use varve_tls::PeerCertificate;

/// Tells nodes of this cluster from others, by what this node's own certificate says.
#[derive(Clone, Debug)]
pub(crate) struct PeerRule {
    /// The cluster that this node's certificate names; where it names none, those of the others name none either.
    cluster: Option<ClusterName>,
    /// Whether nodes have an authority of their own.
    own_authority: bool,
}

impl PeerRule {
    /// The rule of a node whose own certificate this is.
    ///
    /// # Errors
    /// Why it cannot be a node with it.
    pub(crate) fn of(certificate: &[u8], node_name: &str, own_authority: bool) -> Result<Self, String> {
        let node = node_of(certificate).map_err(|error| error.to_string())?;
        match &node {
            Some(uri) if uri.node.as_str() != node_name => Err(format!(
                "it is that of node {}, and this one is {node_name}: set node-name, or issue another certificate",
                uri.node
            )),
            None if !own_authority => Err(
                "it names no node (varve://CLUSTER/node/NAME), and nodes have the same authority as clients, so that nobody could \
                 tell the two apart: issue one with `varve cert issue --server`, or give nodes an authority of their own \
                 (peer-tls-ca-file)"
                    .to_owned(),
            ),
            _ => Ok(Self { cluster: node.map(|uri| uri.cluster), own_authority }),
        }
    }

    /// The node that a certificate is of, if it names it.
    ///
    /// # Errors
    /// Why it is not that of a node of this cluster.
    pub(crate) fn check(&self, certificate: &PeerCertificate) -> Result<Option<NodeUri>, String> {
        if !certificate.is_by_peer_authority() {
            return Err("no authority of nodes has issued it".to_owned());
        }
        let node = node_of(certificate.der()).map_err(|error| error.to_string())?;
        match (&node, &self.cluster) {
            (Some(uri), Some(cluster)) if uri.cluster == *cluster => Ok(node),
            (Some(uri), Some(cluster)) => {
                Err(format!("it is that of a node of cluster {}, and this one is of {cluster}", uri.cluster))
            }
            // Where nodes have an authority of their own, what it has issued is enough, unless they name their cluster.
            (None, None) if self.own_authority => Ok(None),
            (None, Some(cluster)) if self.own_authority => {
                Err(format!("it names no node, and that of this one is of cluster {cluster}"))
            }
            (Some(uri), None) if self.own_authority => Err(format!(
                "it is that of a node of cluster {}, and that of this node names no cluster",
                uri.cluster
            )),
            _ => Err("it is a client's, and not a node's".to_owned()),
        }
    }
}

//! Who serves.

use varve_record::NodeId;

/// The members of the cluster as clients see them: this one, while there is no other.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) cluster_id: String,
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    pub(crate) rpc_addr: String,
    pub(crate) rack: String,
}

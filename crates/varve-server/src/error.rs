//! What goes wrong: with a node as a whole here, with a call in `call`.

mod call;

pub(crate) use call::{
    At, batch_error, build_error, command_error, group_error, invalid, metadata_error, no_node, open_error,
    overloaded, produce_error, push_error, read_error, timed_out,
};

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;
use varve_replica::OpenReplicaError;
use varve_storage::{OpenError, StopReason};

use crate::{ConfigError, NodeIdentity};

/// A node that did not start. Nothing was changed that a new try would stumble over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory could not be opened.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The data directory is empty, and there is no way to a cluster.
    #[error(
        "data directory {} is empty: to make a new cluster in it start with bootstrap, to join one give a gossip key and addresses to join by, otherwise give the directory that holds the data", dir.display()
    )]
    NotBootstrapped {
        /// The data directory.
        dir: PathBuf,
    },
    /// A new cluster was to be made where there is one.
    #[error(
        "gossip shows node {name} of cluster {cluster_id}: to join it start without bootstrap, to make another cluster give it its own gossip key"
    )]
    ClusterExists {
        /// The cluster.
        cluster_id: String,
        /// One of its nodes.
        name: String,
    },
    /// A certificate, a key or a list of authorities cannot be used.
    #[error("TLS: {0}")]
    Tls(varve_tls::TlsError),
    /// The certificate that other nodes are shown is not one of this node.
    #[error("the certificate in {} cannot be this node's: {reason}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The policy cannot be used. Without it nobody may do anything.
    #[error("policy: {0}")]
    Policy(String),
    /// Gossip does not start.
    #[error("cannot take part in gossip: {0}")]
    Gossip(varve_gossip::StartError),
    /// The cluster has taken the node out.
    #[error(
        "{identity} was decommissioned, or replaced, and belongs to its cluster no more: this data directory will never be used again; to join as a new node start with an empty one in place of {}", dir.display()
    )]
    Removed {
        /// The node.
        identity: NodeIdentity,
        /// The data directory.
        dir: PathBuf,
    },
    /// The data directory has no identity, but holds data.
    #[error(
        "data directory {} holds partitions but not the node's identity: restore its file \"node\", or start with an empty directory", dir.display()
    )]
    IdentityMissing {
        /// The data directory.
        dir: PathBuf,
    },
    /// The identity is not one that this version writes.
    #[error(
        "the node's identity in {} is not one that this version understands: use the version that wrote it, or a newer one", dir.display()
    )]
    IdentityUnknown {
        /// The data directory.
        dir: PathBuf,
    },
    /// The metadata are gone, but partitions are there, or a vote says that the metadata were.
    #[error(
        "the data directory holds {partitions} partitions but not the metadata that say what they are, and no other node of the cluster is known that could lead the controller in place of this one, so that they cannot be learnt anew: restore the directory partitions/0000000000, nothing else was touched"
    )]
    MetadataMissing {
        /// How many partitions there are.
        partitions: usize,
    },
    /// The metadata here are damaged, and no other node has them, so that they cannot be learnt anew.
    #[error(
        "the metadata in the data directory are damaged: {0}; no other node of the cluster is known that could lead the controller in place of this one, so that they cannot be learnt anew: restore the directory partitions/0000000000, nothing else was touched"
    )]
    MetadataDamaged(OpenReplicaError),
    /// The metadata here were damaged again and again.
    #[error(
        "the metadata in the data directory are damaged, and were set aside {count} times before: check the disk, and move the directories partitions/0000000000.quarantined-* away before the node is started again"
    )]
    MetadataDamagedAgain {
        /// How often they were set aside.
        count: usize,
    },
    /// The node cannot go on before it was ready.
    #[error(transparent)]
    Fatal(FatalError),
    /// The metadata could not be opened. Without them no topic is known, so nothing is served.
    #[error("cannot open the metadata: {0}")]
    Metadata(OpenReplicaError),
    /// The port could not be opened.
    #[error("cannot listen on {addr}: {source}; stop what uses it, or choose another port")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something that cannot fail has failed.
    #[error("cannot set up {what}: {reason}")]
    Setup {
        /// What.
        what: &'static str,
        /// What was said.
        reason: String,
    },
}

/// What a running node cannot go on with: the process should end, and be started again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FatalError {
    /// The disk refused a write or a sync. Only a new start finds out what the disk holds.
    #[error("storage has stopped: {0}")]
    Storage(StopReason),
    /// The metadata's log has failed here. Only a new start finds out what the disk holds.
    #[error("the replica of the metadata has failed: start the node again")]
    Metadata,
    /// The metadata's log is damaged here, and was set aside.
    #[error(
        "the metadata here are damaged and were set aside: start the node again, and it learns them anew from the others"
    )]
    MetadataDamaged,
    /// The node was decommissioned, and has given up all that it held: nothing is wrong.
    #[error("{identity} was decommissioned and has left its cluster: it is no longer needed")]
    Decommissioned {
        /// The node.
        identity: NodeIdentity,
    },
    /// The cluster has given the node up, or given its name to another.
    #[error("{identity} was taken out of its cluster: another node has its name, or it was given up as lost")]
    TakenOut {
        /// The node.
        identity: NodeIdentity,
    },
    /// The node made a cluster of its own where there is one.
    #[error(
        "{identity} is alone, and gossip shows cluster {other} beside it: to join that start without bootstrap and with an empty data directory, to keep them apart give each its own gossip key"
    )]
    SecondCluster {
        /// The node.
        identity: NodeIdentity,
        /// The other cluster.
        other: String,
    },
    /// The port is no longer served.
    #[error("the server has stopped serving: {0}")]
    Server(String),
}

/// A node that did not stop cleanly. It has stopped, and the next start recovers as after a crash.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StopError {
    /// The data directory was not closed.
    #[error("the data directory was not closed cleanly: {0}")]
    Storage(#[from] OpenError),
}

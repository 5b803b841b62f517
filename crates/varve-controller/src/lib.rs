//! Cluster metadata as a pure state machine: nodes, topics, where their partitions' replicas are, and producers' identities.
//!
//! [`Metadata`] is the state, [`Command`] what changes it, [`Metadata::apply`] the only way from one to the next: the same
//! commands in the same order give the same state on every node. Commands are entries of the controller's log and are
//! written as JSON, so that what a log holds can be read by eye and a field can be added.
//!
//! What is to be done follows from the state and from [`Liveness`], a hint of who runs: [`plan`] gives the commands that move
//! replicas, [`controller_voters`] who votes in the controller's own group, and [`Metadata::health`] how the cluster is. They only read.
//!
//! It must never know I/O, time or the log that carries it. Begin with [`Command`], then [`Placement`].

mod command;
mod error;
mod health;
mod leading;
mod limits;
mod liveness;
mod metadata;
mod node;
mod nodes;
mod number;
mod placement;
mod placements;
mod plan;
mod producers;
mod settings;
mod spread;
mod topic;
mod voters;

pub use command::{Command, DecodeError, Response};
pub use error::MetadataError;
pub use health::{Health, Listed};
pub use leading::Leading;
pub use limits::{
    ADDRESS_BYTES_MAX, CHANGES_IN_FLIGHT_MAX, COMMANDS_KNOWN, CONTROLLER_VOTERS_MAX, HEALTH_LISTED_MAX,
    NAMED_PRODUCERS_MAX, NAMED_PRODUCERS_OF_SUBJECT_MAX, NODE_NAME_BYTES_MAX, NODES_MAX, PARTITIONS_MAX,
    PRODUCER_IDS_BLOCK, PRODUCER_NAME_BYTES_MAX, RACK_BYTES_MAX, REPLICATION_FACTOR_MAX, REPORT_ENTRIES_MAX,
};
pub use liveness::Liveness;
pub use metadata::Metadata;
pub use node::{Node, NodeState};
pub use placement::Placement;
pub use plan::plan;
pub use producers::ProducerIdentity;
pub use settings::{SettingsChange, TopicSettings};
pub use topic::Topic;
pub use voters::{controller_voters, controller_voters_wanted};

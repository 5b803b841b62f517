//! Cluster metadata as a pure state machine: topics, their partitions and settings, and producers' identities.
//!
//! [`Metadata`] is the state, [`Command`] what changes it, [`Metadata::apply`] the only way from one to the next: the same
//! commands in the same order give the same state on every node. Commands are entries of the controller's log and are
//! written as JSON, so that what a log holds can be read by eye and a field can be added.
//!
//! It must never know I/O, time or the log that carries it.

mod command;
mod error;
mod limits;
mod metadata;
mod number;
mod producers;
mod settings;
mod topic;

pub use command::{Command, DecodeError, Response};
pub use error::MetadataError;
pub use limits::{NAMED_PRODUCERS_MAX, PARTITIONS_MAX, PRODUCER_IDS_BLOCK, PRODUCER_NAME_BYTES_MAX};
pub use metadata::Metadata;
pub use producers::ProducerIdentity;
pub use settings::{SettingsChange, TopicSettings};
pub use topic::Topic;

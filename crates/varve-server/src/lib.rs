//! The node: replicas, metadata and gRPC services put together.
//!
//! [`Node::start`] is the composition root: an ordered list of steps from a data directory to an open port. What is served
//! stands in `grpc`, which turns calls into what a [`varve_replica::Partition`] takes and its answers and errors back; what
//! topics there are, and the handles to their partitions, in `topics`; what makes many nodes one cluster in `cluster`.
//!
//! This crate must never know the command line or the configuration's sources: it is given a [`NodeConfig`]. What it
//! tells of itself stands in `telemetry`, `condition` and `http`. Start reading at [`Node`], then `grpc`.

mod catch_up;
mod cluster;
mod condition;
mod config;
mod discovery;
mod drain;
mod error;
mod grpc;
mod housekeeping;
mod http;
mod identity;
mod inspection;
mod limits;
mod metadata_log;
mod node;
mod partitioner;
mod seat;
mod security;
mod telemetry;
mod topics;

pub use config::{AclFiles, BuildInfo, ConfigError, NodeConfig, SecurityConfig};
pub use discovery::{Discovery, GossipSettings};
pub use error::{FatalError, StartError, StopError};
pub use identity::NodeIdentity;
pub use inspection::Inspection;
pub use limits::*;
pub use node::Node;

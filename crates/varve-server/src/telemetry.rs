//! What the node tells of itself. Each part registers what it knows with [`varve_telemetry::Telemetry`]; where nothing is
//! exported all of it is idle.
//!
//! - `rpc`: every call, from outside: how long it took, what came of it, its span.
//! - `traffic`: records and bytes, of the node and of each topic.
//! - `streams`: the consume streams that are open, and how far behind they are.
//! - `lags`: followers of what is led here, looked at now and then.
//! - `process`, `space`: memory, files and processor time; the disk, and when it is full.
//! - `report`: what is read off the node when somebody asks.

mod lags;
mod process;
mod report;
mod rpc;
mod space;
mod streams;
mod traffic;

pub(crate) use lags::Lags;
pub(crate) use report::{Cluster, Early, register_cluster, register_controller, register_early};
pub(crate) use rpc::{RpcLayer, RpcMetrics, trace_of};
pub(crate) use space::SpaceWatch;
pub(crate) use streams::{OpenStreams, Producing, StreamPlace};
pub(crate) use traffic::{TopicTraffic, Traffic};

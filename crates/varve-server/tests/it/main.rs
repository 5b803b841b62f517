//! A real node in this process, through the clients that tonic generates.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod book;
mod bounded;
mod certificates;
mod cluster;
mod cluster_health;
mod consume;
mod errors;
mod gate;
mod health;
mod hostile;
mod lifecycle;
mod many_partitions;
mod membership;
mod peers;
mod produce;
mod produce_stream;
mod repair;
mod replace;
mod rpc_table;
mod security;
mod stale;
mod support;
mod switchboard;
mod test_cluster;
mod topics;

//! Deterministic simulation of Varve by seed.
//!
//! A seed decides everything: what clients do, what fails and when, what a disk keeps of what was not synced, how long a message
//! takes. The same seed gives the same run, so that a failure is a number. What is simulated, and how to run and replay it:
//! `docs/simulation.md`.
//!
//! Start reading at [`cluster::run`], which takes a whole cluster through a seed; [`one_node::run`] is the small one.

pub mod cluster;
mod no_sync;
pub mod one_node;
mod sync;

pub use no_sync::NoSyncDisk;
pub use sync::Sync;

//! Deterministic simulation of Varve by seed.
//!
//! A seed decides everything: what clients do, when the power is cut, and what the disk keeps of what was not synced. The same seed
//! gives the same run, so that a failure is a number. Today one node's partition is simulated, on the disk in memory: the real
//! proposer, replica and storage engine in one thread, on simulated time. The cluster comes in here when there is one.
//!
//! Start reading at [`run`].

mod client;
mod no_sync;
mod recorder;
mod run;
mod world;

pub use no_sync::NoSyncDisk;
pub use run::{Report, Sync, run};

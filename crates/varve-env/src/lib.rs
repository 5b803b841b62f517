//! The seams that simulation replaces: time, randomness, spawning, network, files.
//!
//! Whatever Varve asks of the world outside its process it asks here, so that a whole cluster can run in one thread on
//! simulated time, network and disk. Tokio's own clock, timers and tasks are simulated as they are, so they need no wrapper;
//! what is not (the wall clock, entropy, threads, sockets, files) stands behind [`Env`].
//!
//! This crate must never know what its seams are used for. Start reading at [`Env`], then [`disk`].

mod blocking;
mod burst;
mod clock;
pub mod disk;
mod entropy;
mod env;
pub mod net;
mod spawn;
mod task;

pub use blocking::Blocking;
pub use burst::{BURST_INTERVAL, Burst};
pub use clock::{ManualClock, SystemClock, WallClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use env::Env;
pub use spawn::{Spawn, TaskSpawn, ThreadSpawn, WorkerHandle};
pub use task::spawn_task;

//! All seams together.

use crate::disk::{Disk, RealDisk};
use crate::net::{Network, TcpNetwork};
use crate::{Blocking, Entropy, Spawn, SystemClock, SystemEntropy, ThreadSpawn, WallClock};
use std::sync::Arc;
use varve_telemetry::Telemetry;

/// What a node gets from the world: made once, by the composition root or the simulation, and handed down.
#[derive(Clone, Debug)]
pub struct Env {
    /// The time of day.
    pub clock: Arc<dyn WallClock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where workers run.
    pub spawn: Arc<dyn Spawn>,
    /// How a call that may block is made.
    pub blocking: Blocking,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Sockets.
    pub network: Arc<dyn Network>,
    /// Who is told how it goes.
    pub telemetry: Telemetry,
}

impl Env {
    /// The real world, which is told nothing.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            spawn: Arc::new(ThreadSpawn),
            blocking: Blocking::Pool,
            disk: Arc::new(RealDisk),
            network: Arc::new(TcpNetwork),
            telemetry: Telemetry::off(),
        }
    }
}

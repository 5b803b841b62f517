//! How fast a host's disk works.
//!
//! The disk in memory takes no time. Whoever waits for it does, as long as the worker that owns the files is held up: it wakes
//! late, by chance, so that entries are readable, sent and acknowledged by others long before they are synced here.

use futures::future::BoxFuture;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use varve_env::{Entropy, SeededEntropy, Spawn, TaskSpawn, WorkerHandle};

/// How long a worker is held up at most where the disk is quick.
const QUICK_MS_MAX: u64 = 3;

/// Starts workers as tasks that are held up each time that they are woken.
#[derive(Debug)]
pub(super) struct PacedSpawn {
    entropy: SeededEntropy,
    held_up_ms_max: AtomicU64,
}

impl PacedSpawn {
    pub(super) fn new(seed: u64) -> Self {
        Self { entropy: SeededEntropy::new(seed), held_up_ms_max: AtomicU64::new(QUICK_MS_MAX) }
    }

    /// Makes the disk slow, or quick again where `None`.
    pub(super) fn set_slow(&self, held_up_ms_max: Option<u64>) {
        self.held_up_ms_max.store(held_up_ms_max.unwrap_or(QUICK_MS_MAX), Ordering::Relaxed);
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.entropy.below(1 + self.held_up_ms_max.load(Ordering::Relaxed)))
    }
}

/// The workers of one host. Its own type, since a trait that is not ours cannot be implemented for an `Arc`.
#[derive(Clone, Debug)]
pub(super) struct Paced(pub(super) Arc<PacedSpawn>);

impl Spawn for Paced {
    fn spawn_worker(&self, name: &str, worker: BoxFuture<'static, ()>) -> io::Result<WorkerHandle> {
        let held_up = HeldUp { worker, pace: Arc::clone(&self.0), pause: None, is_woken: true };
        TaskSpawn.spawn_worker(name, Box::pin(held_up))
    }
}

struct HeldUp {
    worker: BoxFuture<'static, ()>,
    pace: Arc<PacedSpawn>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether the worker has not been polled since it was woken.
    is_woken: bool,
}

impl Future for HeldUp {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if std::mem::take(&mut this.is_woken) {
            this.pause = Some(Box::pin(tokio::time::sleep(this.pace.pause())));
        }
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        this.is_woken = true;
        this.worker.as_mut().poll(cx)
    }
}

//! Where a worker that owns files runs: on a thread of its own, or as a task of the simulation.

use futures::future::BoxFuture;
use std::fmt::Debug;
use std::io;
use std::thread;

/// Starts workers: long-lived loops that block on files. A worker is written as a future that waits only for its own queue;
/// between two waits it calls the disk, which blocks.
pub trait Spawn: Send + Sync + Debug {
    /// Starts a worker under a name.
    ///
    /// # Errors
    /// What the system reports where it has no thread left.
    fn spawn_worker(&self, name: &str, worker: BoxFuture<'static, ()>) -> io::Result<WorkerHandle>;
}

/// Waits for a worker's end where that makes sense.
#[derive(Debug)]
pub struct WorkerHandle(Option<thread::JoinHandle<()>>);

impl WorkerHandle {
    /// Blocks until the worker's thread has ended. Of a task there is nothing to wait for: it ends with its runtime.
    pub fn join(self) {
        if let Some(thread) = self.0 {
            // A worker that panicked has reported it already.
            drop(thread.join());
        }
    }
}

/// A thread for each worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadSpawn;

impl Spawn for ThreadSpawn {
    fn spawn_worker(&self, name: &str, worker: BoxFuture<'static, ()>) -> io::Result<WorkerHandle> {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(WORKER_STACK_BYTES)
            .spawn(move || futures::executor::block_on(worker))?;
        Ok(WorkerHandle(Some(thread)))
    }
}

/// A worker's loop is shallow; a small stack keeps an idle node small.
const WORKER_STACK_BYTES: usize = 512 * 1024;

/// A Tokio task for each worker: for simulation, where all runs in one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskSpawn;

impl Spawn for TaskSpawn {
    fn spawn_worker(&self, _name: &str, worker: BoxFuture<'static, ()>) -> io::Result<WorkerHandle> {
        drop(tokio::spawn(worker));
        Ok(WorkerHandle(None))
    }
}

//! Tasks of one kind.

use futures::future::BoxFuture;
use tokio::task::JoinHandle;

/// Starts a Tokio task, as [`tokio::spawn`].
///
/// It is boxed first: Tokio's part of a task, which is compiled anew for each kind of future and twice for each kind of
/// runtime, is so compiled once. That costs an allocation for a task, and a call through a pointer each time it is polled.
pub fn spawn_task(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    spawn_boxed(Box::pin(task))
}

fn spawn_boxed(task: BoxFuture<'static, ()>) -> JoinHandle<()> {
    tokio::spawn(task)
}

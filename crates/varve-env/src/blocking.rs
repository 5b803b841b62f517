//! Calls that may block, made from asynchronous code.

/// How asynchronous code makes a call that may block on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On Tokio's pool of blocking threads.
    Pool,
    /// On the spot: for simulation, where the disk is memory and all runs in one thread.
    Inline,
}

impl Blocking {
    /// Runs `call` and gives its result.
    ///
    /// # Panics
    /// Where `call` panics, or the runtime is shutting down and no longer runs blocking calls.
    pub async fn run<T: Send + 'static>(self, call: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Inline => call(),
            Self::Pool => match tokio::task::spawn_blocking(call).await {
                Ok(value) => value,
                Err(e) => match e.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is going down and will never poll this task again.
                    Err(_) => futures::future::pending().await,
                },
            },
        }
    }
}

//! Ctrl-C and SIGTERM: the first asks for a clean end, a further one ends at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Exit, Failure};

/// Tells when the user, or the system, wants the command to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<u32>);

impl Interrupt {
    /// Takes over both signals. After `patience` of them that did not end the process the next one does.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn install(patience: u32) -> Result<Self, Failure> {
        let watched =
            |error: io::Error| Failure::new(Exit::General, format!("cannot watch for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(watched)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(watched)?;
        let (count, receiver) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if *count.borrow() >= patience {
                    std::process::exit(Exit::Interrupted as i32);
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(receiver))
    }

    /// Whether the end was asked for.
    pub(crate) fn asked(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until it is.
    pub(crate) async fn wait(&mut self) {
        self.count(1).await;
    }

    /// Waits until it is asked for a second time.
    pub(crate) async fn wait_again(&mut self) {
        self.count(2).await;
    }

    async fn count(&mut self, at_least: u32) {
        if self.0.wait_for(|count| *count >= at_least).await.is_err() {
            // The runtime is going down; there is nothing left to interrupt.
            std::future::pending::<()>().await;
        }
    }
}

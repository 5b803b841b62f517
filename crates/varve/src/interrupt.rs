//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Exit, Failure};

/// Tells when the user, or the system, wants the command to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Takes over both signals.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn install() -> Result<Self, Failure> {
        let watched =
            |error: io::Error| Failure::new(Exit::General, format!("cannot watch for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(watched)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(watched)?;
        let (asked, receiver) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if asked.send_replace(true) {
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Whether the end was asked for.
    pub(crate) fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The runtime is going down; there is nothing left to interrupt.
            std::future::pending::<()>().await;
        }
    }
}

//! Ctrl-C and SIGTERM: the first asks for a clean end, a further one ends at once.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Exit, Failure};

/// Tells when the user, or the system, wants the command to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    count: watch::Sender<u32>,
    receiver: watch::Receiver<u32>,
    patience: u32,
}

impl Interrupt {
    /// Takes over both signals. After `patience` of them that did not end the process the next one does.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn install(patience: u32) -> Result<Self, Failure> {
        let (count, receiver) = watch::channel(0);
        let interrupt = Self { count, receiver, patience };
        interrupt.take_over(SignalKind::interrupt())?;
        interrupt.take_over(SignalKind::terminate())?;
        Ok(interrupt)
    }

    /// Takes the end of the terminal for one of them, too.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn or_hangup(self) -> Result<Self, Failure> {
        self.take_over(SignalKind::hangup())?;
        Ok(self)
    }

    /// Takes the end of standard input for one of them, too.
    pub(crate) fn or_end_of_stdin(self) -> Self {
        let interrupt = self.clone();
        varve_env::spawn_task(async move {
            let mut stdin = tokio::io::stdin();
            let mut buffer = [0; 256];
            while matches!(stdin.read(&mut buffer).await, Ok(1..)) {}
            interrupt.ask();
        });
        self
    }

    fn take_over(&self, kind: SignalKind) -> Result<(), Failure> {
        let mut signals = watched(kind)?;
        let interrupt = self.clone();
        varve_env::spawn_task(async move {
            while signals.recv().await.is_some() {
                interrupt.ask();
            }
        });
        Ok(())
    }

    fn ask(&self) {
        if *self.count.borrow() >= self.patience {
            std::process::exit(Exit::Interrupted as i32);
        }
        self.count.send_modify(|count| *count += 1);
    }

    /// Whether the end was asked for.
    pub(crate) fn asked(&self) -> bool {
        *self.receiver.borrow() > 0
    }

    /// Waits until it is.
    pub(crate) async fn wait(&mut self) {
        self.at_least(1).await;
    }

    /// Waits until it is asked for a second time.
    pub(crate) async fn wait_again(&mut self) {
        self.at_least(2).await;
    }

    async fn at_least(&mut self, at_least: u32) {
        if self.receiver.wait_for(|count| *count >= at_least).await.is_err() {
            // The runtime is going down; there is nothing left to interrupt.
            std::future::pending::<()>().await;
        }
    }
}

/// SIGHUP, for those whom it tells to read their files again, and not to end.
///
/// # Errors
/// If the system does not let it.
pub(crate) fn hangups() -> Result<Signal, Failure> {
    watched(SignalKind::hangup())
}

fn watched(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind)
        .map_err(|error: io::Error| Failure::new(Exit::General, format!("cannot watch for signals: {error}")))
}

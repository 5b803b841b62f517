use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;

use crate::connection::{Outstanding, OutstandingCall};
use crate::hearing::{Heard, Word};

/// How long a server that could not be reached is not read from, where there is another.
const AVOIDED_FOR: Duration = Duration::from_secs(2);

/// The way to a server, and what is known of it.
#[derive(Debug)]
pub(crate) struct Link {
    channel: Channel,
    outstanding: Outstanding,
    failed_at: Option<Instant>,
    heard: Heard,
}

impl Link {
    pub(crate) fn new((channel, heard): (Channel, Heard)) -> Self {
        Self { channel, outstanding: Outstanding::default(), failed_at: None, heard }
    }

    /// What its connections have heard last of TLS.
    pub(crate) fn heard(&self) -> Option<Word> {
        self.heard.last()
    }

    pub(crate) fn begin(&self) -> (Channel, OutstandingCall) {
        (self.channel.clone(), self.outstanding.begin())
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    pub(crate) fn works(&mut self) {
        self.failed_at = None;
    }

    pub(crate) fn failed(&mut self) {
        self.failed_at = Some(Instant::now());
    }

    pub(crate) fn seems_to_work(&self) -> bool {
        self.failed_at.is_none_or(|failed_at| failed_at.elapsed() >= AVOIDED_FOR)
    }
}

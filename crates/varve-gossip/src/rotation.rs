//! Keys that change while gossip runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use memberlist_core::keyring::Keyring;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::foreign::KeyWatch;
use crate::settings::{SerfNode, secrets};
use crate::{GossipKeyError, GossipKeyRing};

/// How often the key file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Takes over the keys of a file whenever it holds others, and when asked to look.
pub(crate) struct Rotation {
    pub(crate) file: PathBuf,
    pub(crate) in_use: GossipKeyRing,
    pub(crate) serf: SerfNode,
    pub(crate) watch: Arc<KeyWatch>,
    pub(crate) asked: Arc<Notify>,
}

impl Rotation {
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wrong = None;
        loop {
            tokio::select! {
                biased;
                () = self.asked.notified() => {}
                _ = ticks.tick() => {}
            }
            match self.read().await {
                Ok(ring) => {
                    wrong = None;
                    self.take_over(ring);
                }
                // Said once; the file may be gone for a moment while it is replaced.
                Err(error) => {
                    let error = error.to_string();
                    if wrong.as_ref() != Some(&error) {
                        tracing::error!(%error, "gossip: the key file cannot be used: the keys before stay in use");
                        wrong = Some(error);
                    }
                }
            }
        }
    }

    async fn read(&self) -> Result<GossipKeyRing, GossipKeyError> {
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || GossipKeyRing::read_file(&file)).await;
        // The task ends with the runtime alone, and this one with it.
        read.unwrap_or_else(|_| Ok(self.in_use.clone()))
    }

    fn take_over(&mut self, ring: GossipKeyRing) {
        if ring == self.in_use {
            return;
        }
        let Some(keyring) = self.serf.memberlist().keyring() else { return };
        replace(keyring, &ring);
        self.watch.set_keys(secrets(&ring));
        let keys = secrets(&ring).len();
        tracing::info!(key_file = %self.file.display(), keys, "gossip: the keys were replaced");
        self.in_use = ring;
    }
}

/// The new keys first, so that there is no moment in which messages of others are not understood.
fn replace(keyring: &Keyring, ring: &GossipKeyRing) {
    let wanted = secrets(ring);
    wanted.iter().for_each(|key| keyring.insert(*key));
    if let Some(primary) = wanted.first()
        && let Err(error) = keyring.use_key(primary.as_ref())
    {
        return tracing::error!(%error, "gossip: the first key of the file cannot be used: the one before stays in use");
    }
    for old in keyring.keys().filter(|key| !wanted.contains(key)) {
        // Only the first could not be taken away, and that is wanted.
        drop(keyring.remove(old.as_ref()));
    }
}

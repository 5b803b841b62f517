//! Messages under a key that is none of ours.
//!
//! Whoever joins with another key sees nobody and is seen by nobody, and to both that looks as if the other were not there. So
//! each message over TCP is tried with the keys before the protocol gets it, which drops it without a word that anybody reads.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use memberlist_core::bytes::BytesMut;
use memberlist_core::proto::{EncryptionAlgorithm, SecretKey};
use tokio::sync::watch;
use varve_env::Burst;

/// Bytes of the nonce that what is encrypted begins with.
const NONCE_BYTES: usize = 12;

/// Most addresses that are remembered between two looks.
const PEERS_MAX: usize = 64;

/// In how many rounds of joining in a row nodes must have answered under another key before that is said: whoever rotates keys
/// has a node or two for a moment that do not know each other's yet.
const ROUNDS_MIN: u32 = 3;

/// Notices peers that use another key.
#[derive(Debug)]
pub(crate) struct KeyWatch {
    keys: RwLock<Vec<SecretKey>>,
    /// Where the keys were read, for whoever is to compare them.
    file: Option<PathBuf>,
    state: Mutex<State>,
    confirmed: watch::Sender<Option<SocketAddr>>,
}

#[derive(Debug, Default)]
struct State {
    strangers: Burst,
    /// Whom this node asked since the last look, and whose answer was under another key.
    answered: BTreeSet<SocketAddr>,
    /// Rounds in a row in which somebody did.
    rounds: u32,
    complaints: Burst,
}

impl KeyWatch {
    pub(crate) fn new(keys: Vec<SecretKey>, file: Option<PathBuf>) -> Arc<Self> {
        let (state, confirmed) = (Mutex::default(), watch::Sender::new(None));
        Arc::new(Self { keys: RwLock::new(keys), file, state, confirmed })
    }

    pub(crate) fn set_keys(&self, keys: Vec<SecretKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Looks at what is encrypted of a message; `asked` where this node opened the connection.
    pub(crate) fn look(&self, peer: SocketAddr, asked: bool, encrypted: &[u8]) {
        if self.is_ours(encrypted) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if asked {
            if state.answered.len() < PEERS_MAX {
                state.answered.insert(peer);
            }
        } else if let Some(left_out) = state.strangers.note() {
            tracing::warn!(%peer, left_out, key_file = %self.file_name(),
                "gossip: a peer uses a key that is none of this node's, and is not let in: is it to join with another key file?");
        }
    }

    /// Ends a round of joining; `alone` says that it found nobody.
    pub(crate) fn end_round(&self, alone: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = std::mem::take(&mut state.answered);
        let Some(peer) = answered.first().copied().filter(|_| alone) else {
            if !alone {
                state.rounds = 0;
                self.confirm(None);
            }
            return;
        };
        state.rounds = state.rounds.saturating_add(1);
        if state.rounds < ROUNDS_MIN {
            return;
        }
        self.confirm(Some(peer));
        if let Some(left_out) = state.complaints.note() {
            tracing::error!(%peer, left_out, key_file = %self.file_name(),
                "gossip: the others use another key, so that this node cannot join them: give it the key file of the cluster");
        }
    }

    /// Follows who answers under another key, once that is beyond doubt.
    pub(crate) fn confirmed(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.confirmed.subscribe()
    }

    fn confirm(&self, peer: Option<SocketAddr>) {
        self.confirmed.send_if_modified(|confirmed| std::mem::replace(confirmed, peer) != peer);
    }

    fn is_ours(&self, encrypted: &[u8]) -> bool {
        if encrypted.len() < NONCE_BYTES {
            return false;
        }
        let (nonce, sealed) = encrypted.split_at(NONCE_BYTES);
        let opens = |key: &SecretKey| {
            EncryptionAlgorithm::NoPadding.decrypt(key, nonce, b"", &mut BytesMut::from(sealed)).is_ok()
        };
        self.keys.read().unwrap_or_else(PoisonError::into_inner).iter().any(opens)
    }

    fn file_name(&self) -> std::path::Display<'_> {
        self.file.as_deref().unwrap_or_else(|| Path::new("(given by the program)")).display()
    }
}

//! Commands of a log, taken over into their state.

use super::state_machine::{Applier, CommandCheck};
use crate::StateMachine;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use varve_record::{Index, Term};
use varve_storage::{Entry, EntryKind, LogId};

/// Answers that are kept for their proposers.
const RESPONSES_MAX: usize = 4096;

/// Answers of the newest commands, by entry, until their proposers take them. Which of them were proposed on this node only
/// their proposers know, so that all are kept.
#[derive(Debug)]
pub(crate) struct Responses<R>(Mutex<BTreeMap<Index, (Term, R)>>);

impl<R> Responses<R> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// The answer of this entry's command, and of no other at its place.
    pub(crate) fn take(&self, log_id: LogId) -> Option<R> {
        let mut responses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match responses.remove(&log_id.index) {
            Some((term, response)) if term == log_id.term => Some(response),
            other => {
                responses.extend(other.map(|other| (log_id.index, other)));
                None
            }
        }
    }

    fn put(&self, log_id: LogId, response: R) {
        let mut responses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(responses.insert(log_id.index, (log_id.term, response)));
        // Those that nobody came for are the oldest.
        while responses.len() > RESPONSES_MAX {
            drop(responses.pop_first());
        }
    }
}

/// Takes committed commands over.
pub(crate) struct CommandApplier<S: StateMachine> {
    state: Arc<S>,
    known: watch::Sender<Arc<S>>,
    responses: Arc<Responses<S::Response>>,
}

impl<S: StateMachine> CommandApplier<S> {
    pub(crate) fn new(
        initial: S,
        known: watch::Sender<Arc<S>>,
        responses: Arc<Responses<S::Response>>,
    ) -> Self {
        Self { state: Arc::new(initial), known, responses }
    }
}

impl<S: StateMachine> Applier for CommandApplier<S> {
    fn apply(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != EntryKind::Command {
            return Ok(());
        }
        let index = entry.log_id.index;
        let unknown =
            |error| io::Error::other(format!("entry {index} holds no command that is known here: {error}"));
        let command = S::decode(&entry.body).map_err(unknown)?;
        let response = Arc::make_mut(&mut self.state).apply(command);
        self.responses.put(entry.log_id, response);
        Ok(())
    }

    fn publish(&mut self) {
        let is_known = Arc::ptr_eq(&self.state, &self.known.borrow());
        if !is_known {
            drop(self.known.send_replace(Arc::clone(&self.state)));
        }
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn command_check(&self) -> Option<CommandCheck> {
        Some(|bytes| S::decode(bytes).map(drop).map_err(|error| error.to_string()))
    }
}

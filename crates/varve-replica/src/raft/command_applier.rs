//! Commands of a log, taken over into their state.

use super::state_machine::Applier;
use crate::StateMachine;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use varve_record::Index;
use varve_storage::{Entry, EntryKind};

/// Answers that wait for their proposers.
const RESPONSES_MAX: usize = 4096;

/// Answers of commands that were proposed here, by entry, until their proposers take them.
#[derive(Debug)]
pub(crate) struct Responses<R>(Mutex<BTreeMap<Index, R>>);

impl<R> Responses<R> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    pub(crate) fn take(&self, index: Index) -> Option<R> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }

    fn put(&self, index: Index, response: R) {
        let mut responses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(responses.insert(index, response));
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
    fn apply(&mut self, entry: &Entry, wanted: bool) -> io::Result<()> {
        if entry.kind != EntryKind::Command {
            return Ok(());
        }
        let index = entry.log_id.index;
        let unknown =
            |error| io::Error::other(format!("entry {index} holds no command that is known here: {error}"));
        let command = S::decode(&entry.body).map_err(unknown)?;
        let response = Arc::make_mut(&mut self.state).apply(command);
        if wanted {
            self.responses.put(index, response);
        }
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
}

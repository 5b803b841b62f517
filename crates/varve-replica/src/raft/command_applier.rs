//! Commands of a log, taken over into their state.

use super::state_machine::{Applier, CommandCheck, Commands, StateEncoder};
use crate::{CommandLogSettings, StateMachine};
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
    settings: CommandLogSettings,
    since_snapshot: SinceSnapshot,
}

/// What was applied since a snapshot was made, or was asked for: while one is being made nobody listens.
#[derive(Debug, Default)]
struct SinceSnapshot {
    entries: u64,
    bytes: u64,
}

impl<S: StateMachine> CommandApplier<S> {
    pub(crate) fn new(
        initial: S,
        known: watch::Sender<Arc<S>>,
        responses: Arc<Responses<S::Response>>,
        settings: CommandLogSettings,
    ) -> Self {
        let since_snapshot = SinceSnapshot::default();
        Self { state: Arc::new(initial), known, responses, settings, since_snapshot }
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
        self.since_snapshot.entries += 1;
        self.since_snapshot.bytes += entry.body.len() as u64;
        Ok(())
    }

    fn publish(&mut self) {
        let is_known = Arc::ptr_eq(&self.state, &self.known.borrow());
        if !is_known {
            drop(self.known.send_replace(Arc::clone(&self.state)));
        }
    }

    fn commands(&mut self) -> Option<&mut dyn Commands> {
        Some(self)
    }
}

impl<S: StateMachine> Commands for CommandApplier<S> {
    fn check(&self) -> CommandCheck {
        |bytes| S::decode(bytes).map(drop).map_err(|error| error.to_string())
    }

    fn entries_kept(&self) -> u64 {
        self.settings.snapshot_entries / 2
    }

    fn asks_for_snapshot(&mut self) -> bool {
        let since = &mut self.since_snapshot;
        let is_due =
            since.entries >= self.settings.snapshot_entries || since.bytes >= self.settings.snapshot_bytes;
        if is_due {
            *since = SinceSnapshot::default();
        }
        is_due
    }

    fn snapshot(&mut self) -> StateEncoder {
        self.since_snapshot = SinceSnapshot::default();
        let state = Arc::clone(&self.state);
        Box::new(move || state.snapshot())
    }

    fn restore(&mut self, state: &[u8]) -> io::Result<()> {
        let restored = S::restore(state).map_err(|error| {
            io::Error::other(format!("the snapshot holds no state that is known here: {error}"))
        })?;
        self.state = Arc::new(restored);
        self.since_snapshot = SinceSnapshot::default();
        Ok(())
    }
}

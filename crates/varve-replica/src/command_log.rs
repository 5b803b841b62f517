//! A log of commands, and the state that they make.

use crate::replica::Replica;
use crate::{OpenReplicaError, ProduceError, Progress};
use bytes::Bytes;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use varve_env::{Env, WallClock};
use varve_record::{Index, NodeId, PartitionId, Timestamp};
use varve_storage::{Entry, EntryKind, PartitionConfig, PartitionLog, Storage};

/// Commands that wait; over it whoever proposes waits.
const COMMANDS_MAX: usize = 256;

/// Bytes of entries that replay holds at once.
const REPLAY_BYTES_MAX: usize = 1024 * 1024;

/// A state and what changes it. The same commands in the same order must give the same state everywhere, so that `apply`
/// depends on nothing else; a refusal is part of the answer.
pub trait StateMachine: Clone + Debug + Send + Sync + 'static {
    /// A command.
    type Command: Send + 'static;
    /// What a command answers.
    type Response: Send + 'static;
    /// Why bytes are no command.
    type DecodeError: Display;

    /// A command's bytes in the log.
    fn encode(command: &Self::Command) -> Bytes;
    /// The command in bytes from the log.
    ///
    /// # Errors
    /// Where they are none that this version knows.
    fn decode(bytes: &[u8]) -> Result<Self::Command, Self::DecodeError>;
    /// Takes a committed command over.
    fn apply(&mut self, command: Self::Command) -> Self::Response;
}

/// A command that was not carried out, or of which nobody can say.
#[derive(Clone, Debug, Error)]
pub enum CommandError {
    /// Its log refused it, or cannot say.
    #[error(transparent)]
    Log(#[from] ProduceError),
}

type Answer<S> = oneshot::Sender<Result<<S as StateMachine>::Response, ProduceError>>;

/// A log of commands with the state that they make. A clone is another handle on it.
#[derive(Debug)]
pub struct CommandLog<S: StateMachine> {
    commands: mpsc::Sender<(S::Command, Answer<S>)>,
    state: watch::Receiver<Arc<S>>,
    replica: Replica,
}

impl<S: StateMachine> Clone for CommandLog<S> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), state: self.state.clone(), replica: self.replica.clone() }
    }
}

impl<S: StateMachine> CommandLog<S> {
    /// Opens the log, or makes it, replays what it holds onto `initial`, and leads it.
    ///
    /// # Errors
    /// Where its files cannot be read or written, are damaged, or hold a command that this version does not know.
    pub async fn open(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        node: NodeId,
        initial: S,
    ) -> Result<Self, OpenReplicaError> {
        let replica = Replica::open(env, storage, id, node, PartitionConfig::default()).await?;
        if let Some(damage) = replica.log().damage() {
            return Err(OpenReplicaError::Replay(varve_storage::ReadError::Damaged(damage)));
        }
        let log = replica.log().clone();
        let replayed = env.blocking.run(move || replay(&log, initial)).await?;
        let (publish, state) = watch::channel(Arc::new(replayed));
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let owner = Owner { replica: replica.clone(), clock: Arc::clone(&env.clock), publish };
        drop(tokio::spawn(owner.run(queue)));
        Ok(Self { commands, state, replica })
    }

    /// Proposes a command, and waits until it is committed and taken over.
    ///
    /// # Errors
    /// Where its log refused it, or nobody can say.
    pub async fn propose(&self, command: S::Command) -> Result<S::Response, CommandError> {
        let (answer, outcome) = oneshot::channel();
        self.commands.send((command, answer)).await.map_err(|_| ProduceError::ShuttingDown)?;
        Ok(outcome.await.unwrap_or(Err(ProduceError::CommitUnknown))?)
    }

    /// The state as it is.
    #[must_use]
    pub fn state(&self) -> Arc<S> {
        Arc::clone(&self.state.borrow())
    }

    /// Follows the state.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<S>> {
        self.state.clone()
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.replica.progress()
    }
}

/// The one task that proposes and applies, a command after the other: they are rare.
#[derive(Debug)]
struct Owner<S> {
    replica: Replica,
    clock: Arc<dyn WallClock>,
    publish: watch::Sender<Arc<S>>,
}

impl<S: StateMachine> Owner<S> {
    async fn run(self, mut commands: mpsc::Receiver<(S::Command, Answer<S>)>) {
        while let Some((command, answer)) = commands.recv().await {
            let result = match self.commit(S::encode(&command)).await {
                Ok(()) => Ok(self.apply(command)),
                Err(error) => Err(error),
            };
            // Whoever does not wait for the answer any more does not need it.
            drop(answer.send(result));
        }
    }

    async fn commit(&self, body: Bytes) -> Result<(), ProduceError> {
        let log = self.replica.log();
        let time = Timestamp::new(self.clock.now_unix_ms()).max(log.last_append_time());
        let entry = Entry::command(self.replica.next_log_id(), time, body);
        let (sender, committed) = oneshot::channel();
        self.replica.propose(entry, move |result| drop(sender.send(result)));
        committed.await.unwrap_or(Err(ProduceError::CommitUnknown)).map(|_| ())
    }

    fn apply(&self, command: S::Command) -> S::Response {
        let mut state = S::clone(&self.publish.borrow());
        let response = state.apply(command);
        drop(self.publish.send_replace(Arc::new(state)));
        response
    }
}

fn replay<S: StateMachine>(log: &PartitionLog, mut state: S) -> Result<S, OpenReplicaError> {
    let Some(last) = log.last_log_id() else { return Ok(state) };
    let end = last.index.next();
    let mut next = log.first_index();
    while next < end {
        let entries = log.entries(next, end, REPLAY_BYTES_MAX)?;
        // A state that lacks commands would be taken for the whole.
        let last_read = entries.last().ok_or_else(|| unknown(next, &"it cannot be read"))?;
        next = last_read.log_id.index.next();
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Command) {
            let command = S::decode(&entry.body).map_err(|error| unknown(entry.log_id.index, &error))?;
            // A refusal was answered when the command was proposed, and changes nothing now as then.
            drop(state.apply(command));
        }
    }
    Ok(state)
}

fn unknown(index: Index, error: &impl Display) -> OpenReplicaError {
    OpenReplicaError::Entry { index: index.get(), reason: error.to_string() }
}

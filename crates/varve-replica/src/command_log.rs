//! A log of commands, and the state that they make.

use crate::lead::Lead;
use crate::raft::{CommandApplier, Group, Responses, SnapshotFile};
use crate::replica::{Replica, open_log};
use crate::{
    CommandLogSettings, Follower, FollowerState, GroupError, GroupMembers, GroupSettings, OpenReplicaError,
    Peers, ProduceError, Progress,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use varve_env::{Env, WallClock};
use varve_record::{Index, NodeId, PartitionId, Timestamp};
use varve_storage::{Damage, Entry, EntryKind, LogId, PartitionConfig, PartitionLog, Storage};

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
    /// The whole state, so that the commands which made it need not be kept. The bytes may differ between members that have
    /// the same state. At most [`COMMAND_STATE_BYTES_MAX`](crate::COMMAND_STATE_BYTES_MAX), or no snapshot is made.
    fn snapshot(&self) -> Bytes;
    /// The state in the bytes of a snapshot, which an older version may have made.
    ///
    /// # Errors
    /// Where they are none that this version knows.
    fn restore(snapshot: &[u8]) -> Result<Self, Self::DecodeError>;
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
pub struct CommandLog<S: StateMachine> {
    way: Way<S>,
    state: watch::Receiver<Arc<S>>,
    lead: Lead,
}

/// How a command gets into the log.
enum Way<S: StateMachine> {
    /// Through the owner of a log with a single replica.
    Owner(mpsc::Sender<(S::Command, Answer<S>)>),
    /// Through consensus, which leaves the answers here.
    Group { group: Arc<Group>, responses: Arc<Responses<S::Response>> },
}

impl<S: StateMachine> Clone for CommandLog<S> {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::Owner(commands) => Way::Owner(commands.clone()),
            Way::Group { group, responses } => {
                Way::Group { group: Arc::clone(group), responses: Arc::clone(responses) }
            }
        };
        Self { way, state: self.state.clone(), lead: self.lead.clone() }
    }
}

impl<S: StateMachine> Debug for CommandLog<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLog").field("lead", &self.lead).finish_non_exhaustive()
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
        let file = SnapshotFile::new(log.clone(), env.blocking);
        let replayed = env.blocking.run(move || replay(&log, &file, initial)).await?;
        let (publish, state) = watch::channel(Arc::new(replayed));
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let owner = Owner { replica: replica.clone(), clock: Arc::clone(&env.clock), publish };
        drop(tokio::spawn(owner.run(queue)));
        Ok(Self { way: Way::Owner(commands), state, lead: Lead::Alone(replica) })
    }

    /// Opens the log, or makes it, and takes part in its group, as [`Partition::join`](crate::Partition::join). The state is
    /// that of the newest snapshot, or `initial`, until later commands are known to be committed: see [`CommandLog::ready`].
    ///
    /// # Errors
    /// Where its files cannot be read or written, or are damaged.
    pub async fn join(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        peers: &Peers,
        group: &GroupSettings,
        initial: S,
    ) -> Result<Self, OpenReplicaError> {
        Self::join_with(env, storage, id, peers, group, initial, CommandLogSettings::default()).await
    }

    /// As [`CommandLog::join`], with settings.
    ///
    /// # Errors
    /// As there.
    pub async fn join_with(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        peers: &Peers,
        group: &GroupSettings,
        initial: S,
        settings: CommandLogSettings,
    ) -> Result<Self, OpenReplicaError> {
        let log = open_log(env, storage, id, settings.log.clone()).await?;
        if let Some(damage) = log.damage() {
            return Err(OpenReplicaError::Replay(varve_storage::ReadError::Damaged(damage)));
        }
        let (publish, state) = watch::channel(Arc::new(initial.clone()));
        let responses = Responses::new();
        let applier = Box::new(CommandApplier::new(initial, publish, Arc::clone(&responses), settings));
        let group = Group::start(env, storage, id, peers, group, log, applier).await?;
        let way = Way::Group { group: Arc::clone(&group), responses };
        Ok(Self { way, state, lead: Lead::Group(group) })
    }

    /// Proposes a command, on any member of the log's group, and waits until it is committed and taken over here: the state
    /// of this handle has it then. While nobody leads it waits some seconds for someone who does. At most
    /// [`COMMAND_BYTES_MAX`](crate::COMMAND_BYTES_MAX) encoded.
    ///
    /// # Errors
    /// Where its log refused it, or nobody can say; it is then not tried again.
    pub async fn propose(&self, command: S::Command) -> Result<S::Response, CommandError> {
        match &self.way {
            Way::Owner(commands) => {
                let (answer, outcome) = oneshot::channel();
                commands.send((command, answer)).await.map_err(|_| ProduceError::ShuttingDown)?;
                Ok(outcome.await.unwrap_or(Err(ProduceError::CommitUnknown))?)
            }
            Way::Group { group, responses } => {
                let log_id = group.propose_command(S::encode(&command)).await?;
                Ok(responses.take(log_id).ok_or(ProduceError::CommitUnknown)?)
            }
        }
    }

    /// Returns once the state has all that was committed before this was called, however long that takes: after a start the
    /// state is the initial one until a leader has told what is committed. Works on every member; the caller bounds the time.
    ///
    /// # Errors
    /// Where the replica has stopped.
    pub async fn ready(&self) -> Result<(), GroupError> {
        loop {
            match self.linearize().await {
                // Each try has waited for a leader.
                Err(GroupError::NotLeader { .. }) => tokio::task::yield_now().await,
                outcome => return outcome,
            }
        }
    }

    /// Returns once the state has all that was committed when this was called. Works on every member; around an election it
    /// waits up to some seconds for a leader.
    ///
    /// # Errors
    /// Where no leader can be asked.
    pub async fn linearize(&self) -> Result<(), GroupError> {
        match &self.lead {
            Lead::Alone(_) => Ok(()),
            Lead::Group(group) => group.linearize().await,
        }
    }

    /// Who belongs to the log's group.
    ///
    /// # Errors
    /// Where it has none.
    pub fn members(&self) -> Result<GroupMembers, GroupError> {
        Ok(self.lead.group()?.members())
    }

    /// What this replica knows of the other members while it leads; nothing where it does not.
    ///
    /// # Errors
    /// Where it has no group.
    pub fn followers(&self) -> Result<BTreeMap<NodeId, FollowerState>, GroupError> {
        Ok(self.lead.group()?.followers())
    }

    /// As [`Partition::add_learner`](crate::Partition::add_learner).
    ///
    /// # Errors
    /// As there.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), GroupError> {
        self.lead.group()?.add_learner(node).await
    }

    /// As [`Partition::remove_learner`](crate::Partition::remove_learner).
    ///
    /// # Errors
    /// As there.
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), GroupError> {
        self.lead.group()?.remove_learner(node).await
    }

    /// As [`Partition::change_voters`](crate::Partition::change_voters).
    ///
    /// # Errors
    /// As there.
    pub async fn change_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), GroupError> {
        self.lead.group()?.change_voters(voters).await
    }

    /// As [`Partition::transfer_leadership`](crate::Partition::transfer_leadership).
    ///
    /// # Errors
    /// As there.
    pub async fn transfer_leadership(&self, to: impl Into<Option<NodeId>>) -> Result<(), GroupError> {
        let to = to.into();
        self.lead.group()?.transfer_leadership(to).await
    }

    /// Stops taking part in the log's group.
    pub async fn stop(&self) {
        if let Lead::Group(group) = &self.lead {
            group.stop().await;
        }
    }

    /// The log's last entry, committed or not.
    #[must_use]
    pub fn last_log_id(&self) -> Option<LogId> {
        self.lead.log().last_log_id()
    }

    /// Whether it takes part no more: it was stopped, or could not go on. Only a new start finds out what the disk holds.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.lead.watch().borrow().stopped
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

    /// Follows how far the log is, and who leads it.
    #[must_use]
    pub fn follow_progress(&self) -> Follower {
        Follower::new(self.lead.watch())
    }

    /// When another leader that is known now will be known no more if it says nothing: nobody is told of that.
    #[must_use]
    pub fn leader_known_until(&self) -> Option<Instant> {
        self.lead.leader_known_until()
    }

    /// Whether the disk that it lies on is full, so that no records are let in there.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.lead.log().is_full()
    }

    /// The damage that was found in the log; `None` where none is known.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.lead.log().damage()
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lead.progress()
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

fn replay<S: StateMachine>(
    log: &PartitionLog,
    file: &SnapshotFile,
    initial: S,
) -> Result<S, OpenReplicaError> {
    let Some(last) = log.last_log_id() else { return Ok(initial) };
    let end = last.index.next();
    let (mut state, mut next) = snapshot_or(file, initial)?;
    if next < log.first_index() {
        return Err(unknown(next, &"it was purged, and no snapshot holds what it made"));
    }
    if next > end {
        return Err(unknown(end, &"it is lost, for a snapshot holds what it made"));
    }
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

/// The state to go on from, and the first entry that it lacks.
fn snapshot_or<S: StateMachine>(file: &SnapshotFile, initial: S) -> Result<(S, Index), OpenReplicaError> {
    let first = Index::new(0);
    let found = file.read().map_err(|error| unknown(first, &error))?;
    let Some(found) = found else { return Ok((initial, first)) };
    let next = found.last().index.next();
    let state = S::restore(&found.state).map_err(|error| unknown(next, &error))?;
    Ok((state, next))
}

fn unknown(index: Index, error: &impl Display) -> OpenReplicaError {
    OpenReplicaError::Entry { index: index.get(), reason: error.to_string() }
}

//! A log of commands, and the state that they make.

use crate::open_log::open_log;
use crate::raft::{CommandApplier, Group, Responses};
use crate::{
    CommandLogSettings, Follower, FollowerState, GroupError, GroupMembers, GroupSettings, OpenReplicaError,
    Peers, ProduceError, Progress,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use varve_env::Env;
use varve_record::{NodeId, PartitionId};
use varve_storage::{Damage, LogId, Storage};

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

/// A log of commands with the state that they make. A clone is another handle on it.
pub struct CommandLog<S: StateMachine> {
    group: Arc<Group>,
    /// Where consensus leaves the answers.
    responses: Arc<Responses<S::Response>>,
    state: watch::Receiver<Arc<S>>,
}

impl<S: StateMachine> Clone for CommandLog<S> {
    fn clone(&self) -> Self {
        let (group, responses) = (Arc::clone(&self.group), Arc::clone(&self.responses));
        Self { group, responses, state: self.state.clone() }
    }
}

impl<S: StateMachine> Debug for CommandLog<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLog").field("group", &self.group).finish_non_exhaustive()
    }
}

impl<S: StateMachine> CommandLog<S> {
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
        Ok(Self { group, responses, state })
    }

    /// Proposes a command, on any member of the log's group, and waits until it is committed and taken over here: the state
    /// of this handle has it then. While nobody leads it waits some seconds for someone who does. At most
    /// [`COMMAND_BYTES_MAX`](crate::COMMAND_BYTES_MAX) encoded.
    ///
    /// # Errors
    /// Where its log refused it, or nobody can say; it is then not tried again.
    pub async fn propose(&self, command: S::Command) -> Result<S::Response, CommandError> {
        let log_id = self.group.propose_command(S::encode(&command)).await?;
        Ok(self.responses.take(log_id).ok_or(ProduceError::CommitUnknown)?)
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
        self.group.linearize().await
    }

    /// Who belongs to the log's group.
    #[must_use]
    pub fn members(&self) -> GroupMembers {
        self.group.members()
    }

    /// What this replica knows of the other members while it leads; nothing where it does not.
    #[must_use]
    pub fn followers(&self) -> BTreeMap<NodeId, FollowerState> {
        self.group.followers()
    }

    /// As [`Partition::add_learner`](crate::Partition::add_learner).
    ///
    /// # Errors
    /// As there.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), GroupError> {
        self.group.add_learner(node).await
    }

    /// As [`Partition::remove_learner`](crate::Partition::remove_learner).
    ///
    /// # Errors
    /// As there.
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), GroupError> {
        self.group.remove_learner(node).await
    }

    /// As [`Partition::change_voters`](crate::Partition::change_voters).
    ///
    /// # Errors
    /// As there.
    pub async fn change_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), GroupError> {
        self.group.change_voters(voters).await
    }

    /// As [`Partition::transfer_leadership`](crate::Partition::transfer_leadership).
    ///
    /// # Errors
    /// As there.
    pub async fn transfer_leadership(&self, to: impl Into<Option<NodeId>>) -> Result<(), GroupError> {
        let to = to.into();
        self.group.transfer_leadership(to).await
    }

    /// Stops taking part in the log's group.
    pub async fn stop(&self) {
        self.group.stop().await;
    }

    /// The log's last entry, committed or not.
    #[must_use]
    pub fn last_log_id(&self) -> Option<LogId> {
        self.group.log().last_log_id()
    }

    /// Whether it takes part no more: it was stopped, or could not go on. Only a new start finds out what the disk holds.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.group.has_stopped()
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
        Follower::new(self.group.state().subscribe())
    }

    /// When another leader that is known now will be known no more if it says nothing: nobody is told of that.
    #[must_use]
    pub fn leader_known_until(&self) -> Option<Instant> {
        self.group.leader_known_until()
    }

    /// Whether the disk that it lies on is full, so that no records are let in there.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.group.log().is_full()
    }

    /// The damage that was found in the log; `None` where none is known.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.group.log().damage()
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.group.progress()
    }
}

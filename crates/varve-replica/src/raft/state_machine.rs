//! What a replica does with committed entries.
//!
//! A data partition's state is its log: to apply an entry is to raise the high watermark over it. Nothing of that needs to be
//! durable, so that a start takes up at the mark that was left last, or at the first entry kept. Its snapshot is the state
//! before the first entry kept: whoever installs it is then sent every entry that there still is. A command log's snapshot is
//! the state that its commands have made.

use super::command_snapshot::{CommandSnapshot, SnapshotFile, durable};
use super::commit_clock::{Applying, CommitClock};
use super::log_entry::LogEntry;
use super::membership;
use super::types::{Applied, RaftLogId, RaftStoredMembership, Types, to_raft};
use crate::committed::State;
use crate::settings::COMMAND_STATE_BYTES_MAX;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use std::io;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use varve_env::Blocking;
use varve_record::NodeId;
use varve_storage::{EndState, Entry, EntryKind, PartitionLog, ProducerTable, StoredMembership};

/// Bytes of entries that are applied before the place is noted; a start applies at most these and what came after again.
const MARK_INTERVAL_BYTES: u64 = 64 * 1024 * 1024;
/// Entries that are applied before their commit is made known.
const APPLY_ENTRIES_MAX: usize = 1024;

/// What else is done with committed entries.
pub(crate) trait Applier: Send + Sync + 'static {
    /// Takes a committed entry over.
    ///
    /// # Errors
    /// Where the entry is none that this version knows: the replica then stops.
    fn apply(&mut self, entry: &Entry) -> io::Result<()>;
    /// All entries so far were applied: makes the state known.
    fn publish(&mut self);
    /// What is done with commands; `None` where the log holds records.
    fn commands(&mut self) -> Option<&mut dyn Commands>;
}

/// The state that a log's commands make.
pub(crate) trait Commands {
    /// Tells whether a command may enter the log.
    fn check(&self) -> CommandCheck;
    /// How far the log may be behind its snapshot and still be sent entry by entry, in entries.
    fn entries_kept(&self) -> u64;
    /// Asks for a snapshot, where much was applied since the last, or since one was asked for.
    fn asks_for_snapshot(&mut self) -> bool;
    /// The state as it is now, to be encoded elsewhere.
    fn snapshot(&mut self) -> StateEncoder;
    /// Goes on from a state.
    ///
    /// # Errors
    /// Where the bytes are none that this version knows.
    fn restore(&mut self, state: &[u8]) -> io::Result<()>;
}

/// Says what is wrong with a command's bytes.
pub(crate) type CommandCheck = fn(&[u8]) -> Result<(), String>;
/// Encodes a state.
pub(crate) type StateEncoder = Box<dyn FnOnce() -> Bytes + Send + Sync>;

/// A data partition has nothing else to do.
pub(crate) struct NoApplier;

impl Applier for NoApplier {
    fn apply(&mut self, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }

    fn publish(&mut self) {}

    fn commands(&mut self) -> Option<&mut dyn Commands> {
        None
    }
}

/// What is to be done behind the state machine.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Told when entries were applied that a snapshot is to follow.
    pub(super) snapshot: Notify,
    /// Told when so much was applied that the place is to be noted.
    pub(super) mark: Notify,
}

/// A group's state machine.
pub(crate) struct Machine {
    log: PartitionLog,
    blocking: Blocking,
    state: watch::Sender<State>,
    /// The state as of the last applied entry; the producers are left out.
    applied: EndState,
    applier: Box<dyn Applier>,
    applied_watch: watch::Sender<EndState>,
    due: Arc<Due>,
    /// Bytes that were applied since a mark was asked for.
    unmarked_bytes: u64,
    file: SnapshotFile,
    clock: CommitClock,
}

impl Machine {
    /// A state machine over a log, as of its newest mark or snapshot, or of its first entry. Blocks.
    ///
    /// # Errors
    /// Where the log cannot be read, or ends before what was applied: then entries that were durable are lost.
    pub(crate) fn open(
        log: PartitionLog,
        blocking: Blocking,
        state: watch::Sender<State>,
        mut applier: Box<dyn Applier>,
        due: Arc<Due>,
        clock: CommitClock,
    ) -> io::Result<Self> {
        let file = SnapshotFile::new(log.clone(), blocking);
        let applied = match applier.commands() {
            Some(commands) => commands_start_state(&log, &file, commands)?,
            None => start_state(&log)?,
        };
        let applied_watch = watch::Sender::new(applied.clone());
        let unmarked_bytes = 0;
        let mut machine =
            Self { log, blocking, state, applied, applier, applied_watch, due, unmarked_bytes, file, clock };
        machine.applier.publish();
        machine.publish_progress();
        Ok(machine)
    }

    /// Follows what is applied.
    pub(crate) fn watch_applied(&self) -> watch::Receiver<EndState> {
        self.applied_watch.subscribe()
    }

    fn take(&mut self, entry: &Entry) -> io::Result<Applied> {
        let held = std::mem::take(&mut self.applied);
        self.applied = advance(held, entry);
        self.applier.apply(entry)?;
        self.unmarked_bytes += entry.body.len() as u64;
        if entry.kind == EntryKind::Blank {
            return Ok(Applied::Void);
        }
        // What a trim answers is where the log starts since, which a later start may have been before it.
        let is_trim = entry.kind == EntryKind::Trim;
        let first = if is_trim { self.applied.log_start_offset } else { entry.base_offset };
        let next = entry.next_offset();
        Ok(Applied::Done { first, next, append_time: entry.append_time })
    }

    fn publish(&mut self) {
        self.applier.publish();
        if self.applied.log_start_offset > self.log.log_start_offset() {
            self.log.set_log_start(self.applied.log_start_offset);
        }
        let before = self.state.borrow().progress.log_start_offset;
        self.publish_progress();
        let is_due = self.applier.commands().is_some_and(Commands::asks_for_snapshot);
        if is_due || self.applied.log_start_offset > before {
            self.due.snapshot.notify_one();
        }
        if self.unmarked_bytes >= MARK_INTERVAL_BYTES {
            self.unmarked_bytes = 0;
            self.due.mark.notify_one();
        }
    }

    fn publish_progress(&self) {
        let Some(last) = self.applied.last else { return };
        self.log.set_committed(last.index);
        let (next_offset, log_start) = (self.applied.next_offset, self.applied.log_start_offset);
        self.state.send_modify(|state| {
            state.next_index = state.next_index.max(last.index.next());
            state.progress.high_watermark = state.progress.high_watermark.max(next_offset);
            state.progress.log_start_offset = state.progress.log_start_offset.max(log_start);
        });
        drop(self.applied_watch.send_replace(self.applied.clone()));
    }

    /// Goes on from another replica's state. Where the log holds the entry that the state is of, all is here already.
    async fn install_records(&mut self, state: EndState) -> io::Result<()> {
        let last = state.last.ok_or_else(|| io::Error::other("a snapshot of an empty log"))?;
        let log = self.log.clone();
        let found = self.blocking.run(move || log.log_id_at(last.index)).await.map_err(io::Error::other)?;
        if found != Some(last) {
            self.file.reset(state.clone()).await?;
        }
        self.applied = starting_from(state);
        Ok(())
    }
}

/// The state after an entry, producers left out: their place is the log.
fn advance(mut state: EndState, entry: &Entry) -> EndState {
    match entry.kind {
        EntryKind::Membership => {
            state.membership = Some(StoredMembership { log_id: entry.log_id, body: entry.body.clone() });
        }
        EntryKind::Trim => {
            let start = entry.trim_offset().unwrap_or_default().min(state.next_offset);
            state.log_start_offset = state.log_start_offset.max(start);
        }
        EntryKind::Blank | EntryKind::Batch | EntryKind::Command => {}
    }
    state.next_offset = entry.next_offset();
    state.last = Some(entry.log_id);
    state.last_append_time = state.last_append_time.max(entry.append_time);
    state
}

/// The state before the first entry kept, as one to go on from: nothing before it can be read here.
fn starting_from(first: EndState) -> EndState {
    let log_start_offset = first.log_start_offset.max(first.next_offset);
    EndState { log_start_offset, producers: Arc::new(ProducerTable::default()), ..first }
}

/// Where a start takes up: never behind the log's end, so that consensus never sees a gap that it would fill by purging.
fn start_state(log: &PartitionLog) -> io::Result<EndState> {
    let first = log.checkpoint_at_first_segment().map_err(io::Error::other)?;
    let first = starting_from(first);
    let mark = log.read_snapshot().map_err(io::Error::other)?.and_then(EndState::decode);
    let Some((mark, last)) = mark.and_then(|mark| mark.last.map(|last| (mark, last))) else {
        return Ok(first);
    };
    if Some(last) <= first.last {
        return Ok(first);
    }
    match log.log_id_at(last.index).map_err(io::Error::other)? {
        Some(found) if found == last => {
            Ok(EndState { log_start_offset: mark.log_start_offset.max(first.log_start_offset), ..mark })
        }
        found => Err(io::Error::other(format!(
            "entry {last} was applied here, but the log holds {found:?} in its place: entries that were durable are lost"
        ))),
    }
}

/// The same for a log of commands, whose state is restored.
fn commands_start_state(
    log: &PartitionLog,
    file: &SnapshotFile,
    commands: &mut dyn Commands,
) -> io::Result<EndState> {
    let Some(snapshot) = file.read()? else {
        let first = log.checkpoint_at_first_segment().map_err(io::Error::other)?;
        return match first.last {
            None => Ok(first),
            Some(last) => Err(untrusted(format!(
                "the commands up to entry {last} were purged, and there is no snapshot of what they made"
            ))),
        };
    };
    let last = snapshot.last();
    match log.log_id_at(last.index).map_err(io::Error::other)? {
        Some(found) if found == last => {
            commands.restore(&snapshot.state)?;
            Ok(snapshot.log)
        }
        found => Err(untrusted(format!(
            "the snapshot is of entry {last}, but the log holds {found:?} in its place: entries that were durable are lost"
        ))),
    }
}

/// What lies here is not all that was durable.
fn untrusted(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// What is known to be committed of a log that takes no part in its group: up to its end, where `node` has it and alone voted in
/// it. Blocks.
pub(crate) fn last_known(log: &PartitionLog, node: Option<NodeId>) -> State {
    let mut known = State::unknown();
    let mut learn = |state: &EndState| {
        let progress = &mut known.progress;
        progress.high_watermark = progress.high_watermark.max(state.next_offset);
        progress.log_start_offset = progress.log_start_offset.max(state.log_start_offset);
    };
    if let Ok(state) = start_state(log) {
        learn(&state);
    }
    // The only voter commits what is durable here, and others come in with an entry that follows all that it committed so.
    let end = log.end_state();
    if node.is_some_and(|node| membership::is_sole_voter(end.membership.as_ref(), node)) {
        learn(&end);
    }
    known.progress.high_watermark = known.progress.high_watermark.max(known.progress.log_start_offset);
    known
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
        Ok((self.applied.last.map(to_raft), stored_membership(&self.applied)?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let (mut answers, mut applying) = (Vec::new(), Applying::default());
        let mut applied = 0;
        while let Some(item) = entries.next().await {
            let (LogEntry { entry, .. }, responder) = item?;
            self.clock.committed(entry.log_id.index.get(), &mut applying);
            let outcome = self.take(&entry)?;
            answers.extend(responder.map(|responder| (responder, outcome)));
            applied += 1;
            if applied % APPLY_ENTRIES_MAX == 0 {
                self.publish();
                answers.drain(..).for_each(|(responder, outcome)| responder.send(outcome));
                self.clock.applied(&mut applying);
            }
        }
        // Known to all before anyone is told: what was acknowledged can be read.
        self.publish();
        answers.into_iter().for_each(|(responder, outcome)| responder.send(outcome));
        self.clock.applied(&mut applying);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (log, blocking) = (self.log.clone(), self.blocking);
        match self.applier.commands() {
            None => SnapshotBuilder::Records { log, blocking },
            Some(commands) => SnapshotBuilder::Commands {
                log,
                blocking,
                file: self.file.clone(),
                applied: self.applied.clone(),
                state: Some(commands.snapshot()),
            },
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<Types>, snapshot: Bytes) -> io::Result<()> {
        let malformed = || io::Error::other("the snapshot is malformed");
        match self.applier.commands() {
            None => self.install_records(EndState::decode(snapshot).ok_or_else(malformed)?).await?,
            Some(commands) => {
                let snapshot = CommandSnapshot::decode(snapshot).ok_or_else(malformed)?;
                commands.restore(&snapshot.state)?;
                self.file.install(snapshot.clone()).await?;
                self.applied = snapshot.log;
            }
        }
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, Bytes>>> {
        if self.applier.commands().is_some() {
            let file = self.file.clone();
            let found = self.blocking.run(move || file.read()).await?;
            return found.as_ref().map(commands_snapshot).transpose();
        }
        let log = self.log.clone();
        let state = self.blocking.run(move || log.checkpoint_at_first_segment()).await;
        let state = state.map_err(io::Error::other)?;
        if state.last.is_none() { Ok(None) } else { to_snapshot(&state).map(Some) }
    }
}

/// Makes the snapshot that lets the log be purged.
pub(crate) enum SnapshotBuilder {
    /// The state at the log's start.
    Records { log: PartitionLog, blocking: Blocking },
    /// The state as of the last entry that was applied.
    Commands {
        log: PartitionLog,
        blocking: Blocking,
        file: SnapshotFile,
        applied: EndState,
        state: Option<StateEncoder>,
    },
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, Bytes>> {
        match self {
            Self::Records { log, blocking } => {
                let log = log.clone();
                let state = blocking.run(move || log.checkpoint_after_purge()).await;
                to_snapshot(&state.map_err(io::Error::other)?)
            }
            Self::Commands { log, blocking, file, applied, state } => {
                if let Some(last) = applied.last {
                    // Others may have committed what is not durable here yet, and a snapshot is never ahead of its log.
                    durable(log, last).await?;
                }
                let (file, applied, state) = (file.clone(), applied.clone(), state.take());
                blocking.run(move || save_commands(&file, applied, state)).await
            }
        }
    }
}

/// Saves a snapshot of the commands. Where it cannot be, the one before stands, and the log keeps what came since.
fn save_commands(
    file: &SnapshotFile,
    log: EndState,
    state: Option<StateEncoder>,
) -> io::Result<SnapshotOf<Types, Bytes>> {
    let state = state.filter(|_| log.last.is_some()).map(|encode| encode());
    let saved = match state {
        Some(state) if state.len() <= COMMAND_STATE_BYTES_MAX => file
            .replace(CommandSnapshot { log, state, replaces_log: false })
            .inspect_err(|error| tracing::warn!(%error, "cannot save a snapshot of the commands"))
            .ok(),
        Some(state) => {
            let (size_bytes, max_bytes) = (state.len(), COMMAND_STATE_BYTES_MAX);
            tracing::warn!(
                size_bytes,
                max_bytes,
                "the state is too large for a snapshot: the log keeps all commands"
            );
            None
        }
        None => None,
    };
    let standing = match saved {
        Some(saved) => Some(saved),
        None => file.read()?,
    };
    standing.as_ref().map_or_else(|| to_snapshot(&EndState::default()), commands_snapshot)
}

fn commands_snapshot(snapshot: &CommandSnapshot) -> io::Result<SnapshotOf<Types, Bytes>> {
    Ok(SnapshotOf::<Types, Bytes> { snapshot: snapshot.encode(), ..to_snapshot(&snapshot.log)? })
}

fn to_snapshot(state: &EndState) -> io::Result<SnapshotOf<Types, Bytes>> {
    let meta = SnapshotMetaOf::<Types> {
        last_log_id: state.last.map(to_raft),
        last_membership: stored_membership(state)?,
    };
    Ok(SnapshotOf::<Types, Bytes> { meta, snapshot: state.encode() })
}

fn stored_membership(state: &EndState) -> io::Result<RaftStoredMembership> {
    membership::to_stored(state.membership.as_ref())
        .ok_or_else(|| io::Error::other("the membership was written by a newer version"))
}

//! One replica's part in its group.

use super::command_proposer::HANDED_OVER_MAX;
use super::command_snapshot::{CommandSnapshot, SnapshotFile, durable};
use super::commit_clock::CommitClock;
use super::hearing::Hearing;
use super::heartbeats::Heartbeat;
use super::leadership::{Leadership, observe};
use super::link::Links;
use super::log_store::LogStore;
use super::peer::{PeerError, PeerRequest, PeerResponse, Request, Response};
use super::peers::Peers;
use super::proposer::RETRY_PAUSE;
use super::returning::Returning;
use super::settings::{GroupSettings, GroupTiming};
use super::silence::Silence;
use super::state_machine::{Applier, CommandCheck, Due, Machine};
use super::steady::{Asking, Changes, Heard, Steady};
use super::types::{RaftVote, Types, to_raft};
use crate::committed::State;
use crate::metrics::ReplicaMetrics;
use crate::{GroupError, GroupMembers, OpenReplicaError, ProduceError, Progress};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::metrics::RaftServerMetrics;
use openraft::raft::AppendEntriesResponse;
use openraft::type_config::alias::{SnapshotOf, WatchReceiverOf};
use openraft::{Raft, ReadPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use varve_env::{Blocking, Env, WallClock};
use varve_record::{Index, NodeId, Offset, PartitionId, Term};
use varve_storage::{EndState, PartitionLog, Storage};

/// How long a question to the leader may take, and how long it is asked again where nobody leads.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the first leader of a new group stands for election before it leaves that to consensus, and the pause before the
/// first time. Each is half as long again as the one before: a thousand groups that begin at the same time are not to keep each
/// other from it.
const FIRST_STANDS_MAX: usize = 9;
const FIRST_STAND_PAUSE: Duration = Duration::from_millis(20);

/// How long is waited for what is to be marked to be durable.
const MARK_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs consensus for one log.
pub(crate) struct Group {
    id: PartitionId,
    peers: Peers,
    raft: Raft<Types, Machine>,
    metrics: WatchReceiverOf<Types, RaftServerMetrics<Types>>,
    log: PartitionLog,
    blocking: Blocking,
    state: watch::Sender<State>,
    leadership: watch::Sender<Leadership>,
    applied: watch::Receiver<EndState>,
    synced: watch::Receiver<Offset>,
    /// Consensus stands still until there is room on the disk.
    waits_for_room: Arc<AtomicBool>,
    /// Set when it stops, so that nothing waits for room any more.
    stopping: Arc<AtomicBool>,
    clock: Arc<dyn WallClock>,
    timing: GroupTiming,
    command_check: Option<CommandCheck>,
    /// Room for commands that wait for the leader.
    handed_over: Semaphore,
    returning: Returning,
    hearing: Hearing,
    steady: Steady,
    changes: Changes,
    /// Whether the clock of consensus runs.
    clock_runs: AtomicBool,
    metered: Arc<ReplicaMetrics>,
    commits: CommitClock,
}

impl Group {
    /// Starts a replica over its log, which must be sound.
    pub(crate) fn start<'a>(
        env: &'a Env,
        storage: &'a Storage,
        id: PartitionId,
        peers: &'a Peers,
        settings: &'a GroupSettings,
        log: PartitionLog,
        applier: Box<dyn Applier>,
    ) -> BoxFuture<'a, Result<Arc<Self>, OpenReplicaError>> {
        // Boxed, so that consensus is compiled with this crate, and not once more with each that starts it.
        Self::begin(env, storage, id, peers, settings, log, applier).boxed()
    }

    async fn begin(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        peers: &Peers,
        settings: &GroupSettings,
        log: PartitionLog,
        mut applier: Box<dyn Applier>,
    ) -> Result<Arc<Self>, OpenReplicaError> {
        let begin =
            |error: &dyn fmt::Display| OpenReplicaError::Begin(ProduceError::Internal(error.to_string()));
        let (command_check, entries_kept) = applier
            .commands()
            .map_or((None, 0), |commands| (Some(commands.check()), commands.entries_kept()));
        let asked = storage.clone();
        let is_returning = env.blocking.run(move || asked.is_returning(id)).await?;
        let mut config = settings.timing.config(entries_kept, command_check.is_some());
        config.enable_elect = !is_returning;
        let config = config.validate().map_err(|error| begin(&error))?;
        let due = Arc::new(Due::default());
        if command_check.is_some() {
            let file = SnapshotFile::new(log.clone(), env.blocking);
            file.finish_install().await.map_err(|error| untrusted_or(id, error, begin))?;
        }
        let state = watch::Sender::new(State::unknown());
        let (blocking, machine_log, machine_state) = (env.blocking, log.clone(), state.clone());
        let noticed = Arc::clone(&due);
        let metered = Arc::new(ReplicaMetrics::new(&env.telemetry, command_check.is_some()));
        let commits = CommitClock::new(env.telemetry.stages.clone(), metered.clone());
        let applies = commits.clone();
        let machine = blocking
            .run(move || Machine::open(machine_log, blocking, machine_state, applier, noticed, applies))
            .await
            .map_err(|error| untrusted_or(id, error, begin))?;
        let is_new = log.last_log_id().is_none();
        let applied = machine.watch_applied();
        let store = LogStore::new(log.clone(), storage.votes().clone(), id, blocking, commits.clone());
        let (synced, waits_for_room) = (store.watch_synced(), store.waits_for_room());
        let (stopping, changes) = (store.stopping(), store.changes());
        let silence = Arc::new(Silence::new(settings.timing.silence()));
        let links = Links { peers: peers.clone(), group: id, silence: Arc::clone(&silence) };
        let node = peers.node().get();
        let raft =
            Raft::new(node, Arc::new(config), links, store, machine).await.map_err(|error| begin(&error))?;
        let group = Arc::new(Self {
            id,
            peers: peers.clone(),
            metrics: raft.server_metrics(),
            raft,
            log,
            blocking,
            state,
            leadership: watch::Sender::default(),
            applied,
            synced,
            waits_for_room,
            stopping,
            clock: Arc::clone(&env.clock),
            timing: settings.timing,
            command_check,
            handed_over: Semaphore::new(HANDED_OVER_MAX),
            returning: Returning::new(is_returning, settings.led_in),
            hearing: Hearing::new(settings.timing.election_max()),
            steady: Steady::new(
                changes.clone(),
                settings.timing.unheard_max(),
                settings.timing.election_max(),
            ),
            changes,
            clock_runs: AtomicBool::new(true),
            metered,
            commits,
        });
        peers.add(id, &group, settings.timing);
        let (server, data) = (group.raft.server_metrics(), group.raft.data_metrics());
        let alone_max = settings.timing.alone_max();
        drop(varve_env::spawn_task(observe(Arc::downgrade(&group), server, data, alone_max, silence)));
        drop(varve_env::spawn_task(clear_up(Arc::downgrade(&group), due)));
        if is_returning {
            drop(varve_env::spawn_task(learn(Arc::downgrade(&group), storage.clone())));
        } else if is_new && settings.first_leader.is_some_and(|first| first != peers.node()) {
            drop(varve_env::spawn_task(found_later(Arc::downgrade(&group), settings.voters.clone())));
        } else {
            group.found(&settings.voters).await.map_err(|error| begin(&error))?;
            if is_new && settings.first_leader.is_some() {
                drop(varve_env::spawn_task(stand(Arc::downgrade(&group))));
            }
        }
        Ok(group)
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    pub(crate) fn raft(&self) -> &Raft<Types, Machine> {
        &self.raft
    }

    /// What it counts.
    pub(crate) fn metered(&self) -> &Arc<ReplicaMetrics> {
        &self.metered
    }

    /// When its entries pass which stage.
    pub(crate) fn commits(&self) -> &CommitClock {
        &self.commits
    }

    pub(crate) fn log(&self) -> &PartitionLog {
        &self.log
    }

    /// Follows up to which offset records are durable here, committed or not.
    pub(crate) fn synced(&self) -> watch::Receiver<Offset> {
        self.synced.clone()
    }

    pub(crate) fn state(&self) -> &watch::Sender<State> {
        &self.state
    }

    /// How long a leader that no majority answers says that it leads.
    pub(super) fn alone_max(&self) -> Duration {
        self.timing.alone_max()
    }

    /// Within which a learner that has caught up gets what it lacks.
    pub(super) fn round_max(&self) -> Duration {
        Duration::from_millis(self.timing.election_ms)
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.state.borrow().stopped
    }

    pub(super) fn node(&self) -> NodeId {
        self.peers.node()
    }

    pub(super) fn clock(&self) -> &dyn WallClock {
        &*self.clock
    }

    pub(super) fn command_check(&self) -> Option<CommandCheck> {
        self.command_check
    }

    pub(super) fn handed_over(&self) -> &Semaphore {
        &self.handed_over
    }

    /// Asks another member; the caller bounds the time.
    pub(super) fn ask(
        &self,
        node: NodeId,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerResponse, PeerError>> {
        self.peers.network().call(node, self.id, request)
    }

    /// Returns once this replica does not lead in `term`, as far as it knows.
    pub(super) async fn leadership_lost(&self, term: Term) {
        let this = self.node();
        // The sender lives as long as this does.
        drop(self.leadership().wait_for(|seen| seen.led_by(this) != Some(term)).await);
    }

    /// Follows who leads.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    pub(super) fn set_leadership(&self, seen: Leadership) {
        if self.has_stopped() {
            return;
        }
        if seen != *self.leadership.borrow() {
            self.hearing.note();
        }
        let before = self.leadership.borrow().leader;
        if before != seen.leader {
            self.say_who_leads(before, seen);
        }
        // Who leads is known here before anyone is told.
        let changed = self.leadership.send_if_modified(|known| std::mem::replace(known, seen) != seen);
        self.state.send_if_modified(|state| {
            let changed = (state.progress.leader, state.progress.term) != (seen.leader, seen.term);
            let changed = changed && !state.stopped;
            if changed {
                (state.progress.leader, state.progress.term) = (seen.leader, seen.term);
            }
            changed
        });
        if changed {
            self.peers.note_leadership();
        }
    }

    /// One line for each election, on the node that it concerns; of the controller's group on each.
    fn say_who_leads(&self, before: Option<NodeId>, seen: Leadership) {
        if seen.leader.is_some() {
            self.metered.leader_changed();
        }
        let (this, is_controller) = (Some(self.node()), self.command_check.is_some());
        let (partition, term) = (self.id, seen.term);
        match seen.leader {
            leader if leader == this => {
                tracing::info!(%partition, %term, is_controller, "elected: this node leads")
            }
            Some(leader) if before == this || is_controller => {
                tracing::info!(%partition, %term, %leader, is_controller, "another node leads");
            }
            None if before == this => {
                tracing::info!(%partition, %term, is_controller, "this node leads no more")
            }
            _ => tracing::debug!(%partition, %term, leader = ?seen.leader, "leader changed"),
        }
    }

    /// Nothing is committed here any more.
    pub(super) fn set_stopped(&self) {
        self.state.send_modify(|state| {
            state.stopped = true;
            state.progress.leader = None;
        });
        self.leadership.send_modify(|known| known.leader = None);
        self.peers.note_leadership();
    }

    /// The term that this replica leads in, as far as it knows, and with a majority that answers.
    pub(crate) fn leading(&self) -> Option<Term> {
        self.leadership.borrow().led_by(self.node())
    }

    /// Who leads, as far as this replica knows: nobody, where the one who did says nothing any more.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.heard(self.leadership.borrow().leader)
    }

    /// How far the log is, and who leads as [`Group::leader`] says.
    pub(crate) fn progress(&self) -> Progress {
        let progress = self.state.borrow().progress;
        Progress { leader: self.heard(progress.leader), ..progress }
    }

    /// When another leader that is known now will be known no more if it says nothing.
    pub(crate) fn leader_known_until(&self) -> Option<Instant> {
        self.leader().filter(|leader| *leader != self.node()).map(|_| self.hearing.until())
    }

    fn heard(&self, leader: Option<NodeId>) -> Option<NodeId> {
        leader.filter(|leader| *leader == self.node() || self.hearing.is_recent())
    }

    /// Notes that a leader of this term, or a later one, has said something.
    fn note_leader(&self, request: &Request) {
        match request {
            Request::Append(append) => self.note_term(append.vote),
            Request::Snapshot(vote, _) => self.note_term(*vote),
            _ => {}
        }
    }

    fn note_term(&self, vote: RaftVote) {
        if Term::new(vote.leader_id.term) >= self.leadership.borrow().term {
            self.hearing.note();
        }
    }

    /// What is to be done about a heartbeat of the leader.
    pub(super) fn hear(&self, heartbeat: &Heartbeat) -> Heard {
        self.note_term(heartbeat.vote);
        let follows = self.returning.follows(Term::new(heartbeat.vote.leader_id.term));
        if !follows || self.has_stopped() || self.waits_for_room.load(Ordering::Relaxed) {
            return Heard::default();
        }
        self.steady.hear(heartbeat)
    }

    /// Asks consensus about a heartbeat.
    pub(super) async fn ask_about(
        &self,
        heartbeat: Heartbeat,
        asking: Asking,
    ) -> Option<AppendEntriesResponse<Types>> {
        let answer = self.raft.append_entries(heartbeat).await.ok()?;
        if matches!(answer, AppendEntriesResponse::Success) {
            asking.agreed();
        }
        Some(answer)
    }

    /// Does what is due in each heartbeat: a leader sends its own; and the clock of consensus, by which a replica stands for
    /// election, runs where no leader is heard. Until then it could only find that it is not time: more than the longest election
    /// timeout has to pass since consensus heard its leader.
    pub(super) fn beat(&self) {
        let leads = {
            let metrics = self.metrics.borrow_watched();
            metrics.state.is_leader() && metrics.membership_config.membership().nodes().nth(1).is_some()
        };
        let runs = self.leader().is_none();
        if self.clock_runs.swap(runs, Ordering::Relaxed) != runs {
            self.raft.runtime_config().tick(runs);
        }
        // Where consensus waits for room on the disk, it would only find what piled up in front of it.
        if leads && !self.waits_for_room.load(Ordering::Relaxed) {
            // Where there is no room in front of consensus it stands still, and could not have sent anything.
            drop(tokio::task::unconstrained(self.raft.trigger().heartbeat()).now_or_never());
        }
    }

    /// Answers another member.
    pub(crate) async fn answer(&self, request: PeerRequest) -> Result<PeerResponse, PeerError> {
        let stopped =
            |error: &dyn fmt::Display| PeerError::Stopped { partition: self.id, reason: error.to_string() };
        self.note_leader(&request.request);
        if self.waits_for_room.load(Ordering::Relaxed) {
            // It would pile up in front of consensus, entries and all, for as long as the disk is full.
            return match request.request {
                Request::Propose(_) => Ok(PeerResponse(Response::Proposed(Err(ProduceError::DiskFull)))),
                _ => Err(stopped(&"it waits for room on its disk")),
            };
        }
        if !self.returning.hears(&request.request) {
            return Err(stopped(&"it is coming back, and learns first what it had"));
        }
        let response = match request.request {
            Request::Append(append) => {
                Response::Append(self.raft.append_entries(append).await.map_err(|error| stopped(&error))?)
            }
            Request::Vote(vote) => {
                Response::Vote(self.raft.vote(vote).await.map_err(|error| stopped(&error))?)
            }
            Request::PreVote(vote) => {
                Response::Vote(self.raft.pre_vote(vote).await.map_err(|error| stopped(&error))?)
            }
            Request::Snapshot(vote, snapshot) => {
                self.changes.note();
                if !self.is_sound(&vote, &snapshot) {
                    return Err(stopped(&"the snapshot is malformed, or of another version"));
                }
                let installed = self.raft.install_full_snapshot(vote, snapshot).await;
                Response::Snapshot(installed.map_err(|error| stopped(&error))?)
            }
            Request::Transfer(transfer) => Response::Transfer(
                self.raft.handle_transfer_leader(transfer).await.map_err(|error| stopped(&error))?,
            ),
            Request::ReadIndex => Response::ReadIndex(self.own_read_index().await),
            Request::Propose(command) => Response::Proposed(self.commit_for_another(command).await),
            Request::Heartbeats(_) => return Err(stopped(&"heartbeats of many groups are not its own")),
        };
        Ok(PeerResponse(response))
    }

    /// Whether a snapshot is what it says: consensus trusts it blindly.
    fn is_sound(&self, vote: &RaftVote, snapshot: &SnapshotOf<Types, Bytes>) -> bool {
        let last = snapshot.meta.last_log_id;
        let is_of_last = if self.command_check.is_some() {
            CommandSnapshot::decode(snapshot.snapshot.clone()).is_some_and(|found| found.is_of(last.as_ref()))
        } else {
            EndState::decode(snapshot.snapshot.clone()).is_some_and(|state| state.last.map(to_raft) == last)
        };
        is_of_last && last.is_some_and(|last| last.leader_id.term <= vote.leader_id.term)
    }

    /// Returns once all that was committed when this was called is applied here.
    ///
    /// # Errors
    /// Where no leader is known, or it cannot be asked.
    pub(crate) fn linearize(&self) -> BoxFuture<'_, Result<(), GroupError>> {
        async move {
            let index = self.read_index().await?;
            let mut applied = self.state.subscribe();
            match applied.wait_for(|state| state.stopped || state.next_index >= index).await {
                Ok(state) if state.next_index >= index => Ok(()),
                _ => Err(GroupError::Stopped),
            }
        }
        .boxed()
    }

    /// Who belongs to the group.
    pub(crate) fn members(&self) -> GroupMembers {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let entry = metrics.membership_config.log_id().as_ref().map(|log_id| Index::new(log_id.index()));
        let committed = entry.is_some_and(|entry| entry < self.state.borrow().next_index);
        GroupMembers {
            committed,
            voters: membership.voter_ids().map(NodeId::new).collect(),
            learners: membership.learner_ids().map(NodeId::new).collect(),
            changing: membership.get_joint_config().len() > 1,
        }
    }

    /// Stops taking part. What was proposed and is not committed may be, or not.
    pub(crate) fn stop(&self) -> BoxFuture<'_, ()> {
        async move {
            self.stopping.store(true, Ordering::Relaxed);
            self.mark().await;
            if let Err(error) = self.raft.shutdown().await {
                tracing::warn!(partition = %self.id, %error, "consensus did not stop cleanly");
            }
            self.set_stopped();
        }
        .boxed()
    }

    /// Begins a new group, where this is the first start of one of its voters.
    async fn found(&self, voters: &BTreeSet<NodeId>) -> Result<(), RaftError<Types, InitializeError<Types>>> {
        let this = self.peers.node();
        if voters.contains(&this) && self.log.last_log_id().is_none() {
            let members: BTreeMap<u64, ()> = voters.iter().map(|node| (node.get(), ())).collect();
            match self.raft.initialize(members).await {
                // Another voter was faster, or this one has voted: the group exists.
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                Err(error) => return Err(error),
            }
        }
        if self.members().voters == BTreeSet::from([this]) {
            // Nobody else will ever stand.
            drop(self.raft.trigger().elect(false).await);
        }
        Ok(())
    }

    /// All entries below it must be applied before a read that begins now. Around an election it takes some tries.
    async fn read_index(&self) -> Result<Index, GroupError> {
        let since = Instant::now();
        loop {
            if self.has_stopped() {
                return Err(GroupError::Stopped);
            }
            if let Some(index) = self.own_read_index().await {
                return Ok(index);
            }
            match self.leaders_read_index().await {
                Err(GroupError::NotLeader { .. }) if since.elapsed() < READ_INDEX_TIMEOUT => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// All entries below it must be applied before a read that begins now; `None` where this replica does not lead.
    async fn own_read_index(&self) -> Option<Index> {
        self.leading()?;
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        Some(Index::new(linearizer.read_log_id().index()).next())
    }

    async fn leaders_read_index(&self) -> Result<Index, GroupError> {
        let leader = self.leader().filter(|leader| *leader != self.peers.node());
        let leader = leader.ok_or(GroupError::NotLeader { leader: None })?;
        let answer = self.ask(leader, PeerRequest::new(Request::ReadIndex));
        match tokio::time::timeout(READ_INDEX_TIMEOUT, answer).await {
            Ok(Ok(PeerResponse(Response::ReadIndex(Some(index))))) => Ok(index),
            _ => Err(GroupError::NotLeader { leader: Some(leader) }),
        }
    }

    /// Has a replica that came back take part as any other, once all that was committed when it began is durable here.
    async fn return_fully(&self, storage: &Storage) -> Result<(), ()> {
        if !self.returning.believes(self.leadership.borrow().term) {
            return Err(());
        }
        self.linearize().await.map_err(drop)?;
        // A leader that went by what this replica had acknowledged before it lost it may have committed something since it was
        // asked. It has noticed the loss before it sent what is here now; so what it has committed by now is all of that.
        self.linearize().await.map_err(drop)?;
        let last = self.applied.borrow().last;
        if let Some(last) = last {
            durable(&self.log, last).await.map_err(drop)?;
        }
        let (storage, id) = (storage.clone(), self.id);
        let noted = self.blocking.run(move || storage.has_returned(id)).await;
        noted.map_err(
            |error| tracing::warn!(partition = %self.id, %error, "cannot note that a replica has returned"),
        )?;
        self.returning.end();
        self.raft.runtime_config().elect(true);
        Ok(())
    }

    /// Notes durably how far entries were applied here, so that a start need not begin at the first one.
    async fn mark(&self) {
        if self.command_check.is_some() {
            // In that file lies what its commands have made.
            return;
        }
        let applied = self.applied.borrow().clone();
        let Some(last) = applied.last else { return };
        // Never beyond what this disk holds: others may have committed it before it was durable here.
        let held = durable(&self.log, last);
        if !matches!(tokio::time::timeout(MARK_TIMEOUT, held).await, Ok(Ok(()))) {
            return;
        }
        let log = self.log.clone();
        let saved = self.blocking.run(move || log.save_snapshot(applied.encode())).await;
        if let Err(error) = saved {
            tracing::warn!(partition = %self.id, %error, "cannot note how far the log is applied: the next start takes longer");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.peers.forget(self.id);
        let raft = self.raft.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { drop(raft.shutdown().await) }));
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What keeps a state machine from its start: a log or a snapshot that is not to be trusted, or something else.
fn untrusted_or(
    id: PartitionId,
    error: io::Error,
    other: impl Fn(&dyn fmt::Display) -> OpenReplicaError,
) -> OpenReplicaError {
    match error.kind() {
        io::ErrorKind::InvalidData => OpenReplicaError::Untrusted { id, reason: error.to_string() },
        _ => other(&error),
    }
}

/// Sees a replica that came back through, for as long as it runs.
async fn learn(group: std::sync::Weak<Group>, storage: Storage) {
    loop {
        let Some(group) = group.upgrade().filter(|group| !group.has_stopped()) else { return };
        if group.return_fully(&storage).await.is_ok() {
            return;
        }
        drop(group);
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Stands for election in a new group until there is a leader: the others may have no replica yet that could vote. After some tries
/// consensus goes on by itself.
async fn stand(group: std::sync::Weak<Group>) {
    let mut pause = FIRST_STAND_PAUSE;
    for _ in 0..FIRST_STANDS_MAX {
        tokio::time::sleep(pause).await;
        pause = pause * 3 / 2;
        let Some(group) = group.upgrade().filter(|group| !group.has_stopped()) else { return };
        if group.leader().is_some() {
            return;
        }
        // As long as no majority would grant a vote nothing comes of it, and no term is used up.
        drop(group.raft.trigger().elect(true).await);
    }
}

/// Begins a new group where the one that should have led it first has not.
async fn found_later(group: std::sync::Weak<Group>, voters: BTreeSet<NodeId>) {
    let Some((mut leadership, patience)) =
        group.upgrade().map(|group| (group.leadership(), group.timing.election_max()))
    else {
        return;
    };
    let led = leadership.wait_for(|seen| seen.leader.is_some());
    if tokio::time::timeout(patience, led).await.is_ok() {
        return;
    }
    let Some(group) = group.upgrade().filter(|group| !group.has_stopped()) else { return };
    if let Err(error) = group.found(&voters).await {
        tracing::warn!(partition = %group.id, %error, "a new group was not begun here");
    }
}

/// Makes the snapshot that lets the log be purged, and notes now and then how far the log is applied.
async fn clear_up(group: std::sync::Weak<Group>, due: Arc<Due>) {
    let Some(mut leadership) = group.upgrade().map(|group| group.leadership()) else { return };
    loop {
        let is_snapshot = tokio::select! {
            biased;
            () = due.snapshot.notified() => true,
            () = due.mark.notified() => false,
            // The sender goes with the group.
            changed = leadership.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Some(group) = group.upgrade() else { return };
        if is_snapshot {
            // Consensus then purges up to it.
            drop(group.raft.trigger().snapshot().await);
        } else {
            group.mark().await;
        }
    }
}

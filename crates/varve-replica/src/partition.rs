//! One partition's replica, as the services use it.

use crate::committed::State;
use crate::lead::Lead;
use crate::open_log::open_log;
use crate::produce::Pending;
use crate::proposal::Proposal;
use crate::raft::{Group, GroupProposer, NoApplier, Peers, last_known};
use crate::retention::RetentionClock;
use crate::settings::{IN_FLIGHT_BYTES_MAX, PROPOSALS_MAX, PartitionSettings};
use crate::{
    Consistency, FollowerState, GroupError, GroupMembers, GroupSettings, Laggard, OpenReplicaError,
    PartitionStatus, Produce, ProduceError, Produced, Progress, ReadBatches, ReadError, Start,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use varve_env::Env;
use varve_record::{NodeId, Offset, PartitionId, Timestamp};
use varve_storage::{self as storage, Damage, PartitionLog, Storage};

/// The pause before a leader is asked again what is committed.
const RECOVERY_PAUSE: Duration = Duration::from_millis(20);

/// One partition's replica with its proposer. A clone is another handle on it.
#[derive(Clone, Debug)]
pub struct Partition {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: PartitionId,
    env: Env,
    lead: Lead,
    proposals: mpsc::Sender<Proposal>,
    /// Bytes of batches between their arrival and their sync.
    room: Arc<Semaphore>,
    retention: Mutex<(storage::Retention, RetentionClock)>,
    /// Whether what was committed before the start is known again.
    is_recovered: AtomicBool,
}

impl Partition {
    /// Opens the partition, or makes it, and takes part in its group: with the other voters of a new one, or as one that a
    /// leader will tell what is what. A damaged one opens too: it can be read where it is sound, takes nothing, and keeps out
    /// of the group.
    ///
    /// # Errors
    /// Where its files cannot be read or written, or its log ends before what it had acknowledged.
    pub fn join<'a>(
        env: &'a Env,
        storage: &'a Storage,
        id: PartitionId,
        peers: &'a Peers,
        settings: PartitionSettings,
        group: &'a GroupSettings,
    ) -> BoxFuture<'a, Result<Self, OpenReplicaError>> {
        // Boxed, so that the proposer is compiled with this crate, and not once more with each that starts it.
        Self::begin(env, storage, id, peers, settings, group).boxed()
    }

    async fn begin(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        peers: &Peers,
        settings: PartitionSettings,
        group: &GroupSettings,
    ) -> Result<Self, OpenReplicaError> {
        let producers_max = settings.log.producers_max;
        let log = open_log(env, storage, id, settings.log).await?;
        let (proposals, queue) = mpsc::channel(PROPOSALS_MAX);
        let lead = match log.damage() {
            Some(damage) => Err(damage),
            None => {
                let started = Group::start(env, storage, id, peers, group, log.clone(), Box::new(NoApplier));
                match (started.await, log.damage()) {
                    (Ok(group), _) => Ok(group),
                    // What consensus read first was damaged.
                    (Err(_), Some(damage)) => Err(damage),
                    (Err(error), None) => return Err(error),
                }
            }
        };
        let lead = match lead {
            Ok(group) => {
                let proposer = GroupProposer::new(Arc::clone(&group), Arc::clone(&env.clock), producers_max);
                drop(varve_env::spawn_task(proposer.run(queue)));
                Lead::Group(group)
            }
            Err(damage) => idle(env, log, queue, damage, Some(peers.node())).await,
        };
        Ok(Self::over(env, id, lead, proposals, settings.retention))
    }

    /// Opens a partition of which it is known that it is damaged, though an open may not see it: it can be read where it is
    /// sound, takes nothing, and keeps out of its group.
    ///
    /// # Errors
    /// As [`Partition::join`].
    pub async fn open_damaged(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        settings: PartitionSettings,
    ) -> Result<Self, OpenReplicaError> {
        let log = open_log(env, storage, id, settings.log).await?;
        let (proposals, queue) = mpsc::channel(PROPOSALS_MAX);
        log.distrust();
        let lead = match log.damage() {
            Some(damage) => idle(env, log, queue, damage, None).await,
            None => Lead::idle(log, State::unknown()),
        };
        Ok(Self::over(env, id, lead, proposals, settings.retention))
    }

    fn over(
        env: &Env,
        id: PartitionId,
        lead: Lead,
        proposals: mpsc::Sender<Proposal>,
        retention: storage::Retention,
    ) -> Self {
        let clock = RetentionClock::new(lead.log().last_append_time());
        let shared = Shared {
            id,
            env: env.clone(),
            lead,
            proposals,
            room: Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)),
            retention: Mutex::new((retention, clock)),
            is_recovered: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Hands a batch over to the proposer; waits while too much is in flight. Batches of one caller are appended in the order
    /// in which they were handed over.
    ///
    /// # Errors
    /// Where the partition is shutting down.
    pub async fn enqueue(&self, produce: Produce) -> Result<Pending, ProduceError> {
        let size_bytes = u32::try_from(produce.batch.size_bytes()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.shared.room).acquire_many_owned(size_bytes).await;
        let room = room.map_err(|_| ProduceError::ShuttingDown)?;
        let (answer, outcome) = oneshot::channel();
        let in_hand = self.shared.lead.group().ok().map(|group| group.metered().begin());
        let proposal = Proposal::Produce { produce, answer, room, in_hand };
        self.shared.proposals.send(proposal).await.map_err(|_| self.closed())?;
        Ok(Pending { outcome, committed: self.shared.lead.committed() })
    }

    /// Appends a batch and waits as its [`Acks`](crate::Acks) say.
    ///
    /// # Errors
    /// Why it was refused, or that nobody can say.
    pub async fn produce(&self, produce: Produce) -> Result<Produced, ProduceError> {
        self.enqueue(produce).await?.wait().await
    }

    /// Whether another handle is one on the same replica.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How far the partition is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.lead.progress()
    }

    /// Returns once this replica knows again what was committed before it was started: until then its high watermark may lie
    /// lower than readers have seen it. The caller bounds the time, since it takes a leader. A damaged replica
    /// knows all that it will at once.
    ///
    /// # Errors
    /// Where the partition shuts down first.
    pub async fn recovered(&self) -> Result<(), ReadError> {
        let Lead::Group(group) = &self.shared.lead else { return Ok(()) };
        if self.log().damage().is_some() {
            return Ok(());
        }
        if group.has_stopped() {
            return Err(ReadError::ShuttingDown);
        }
        while !self.shared.is_recovered.load(Ordering::Acquire) {
            match group.linearize().await {
                Ok(()) => self.shared.is_recovered.store(true, Ordering::Release),
                Err(GroupError::NotLeader { .. }) => tokio::time::sleep(RECOVERY_PAUSE).await,
                Err(_) => return Err(ReadError::ShuttingDown),
            }
        }
        Ok(())
    }

    /// Follows how far the partition is.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower::new(self.shared.lead.watch())
    }

    /// Reads whole committed batches from the one that holds `from`, up to about `max_bytes`, at least one where there is
    /// any; none at the tail. `until` bounds it further, by offset.
    ///
    /// # Errors
    /// Where `from` is trimmed or beyond the tail, or the bytes are damaged.
    pub async fn read(
        &self,
        from: Offset,
        until: Option<Offset>,
        max_bytes: usize,
    ) -> Result<ReadBatches, ReadError> {
        let Progress { high_watermark, log_start_offset, leader, .. } = self.progress();
        if from >= high_watermark && leader.is_none() {
            // Where the end of the log is lost, what is asked for may be part of it: that is damage, and no tail to wait at. Nor
            // does anything come to a damaged replica, which is in no group.
            self.read_log(from, Offset::MAX, 1).await?;
            if let Some(damage) = self.log().damage() {
                return Err(ReadError::Damaged(damage));
            }
        }
        self.check_range(from)?;
        let until = until.map_or(high_watermark, |until| until.min(high_watermark));
        let batches = if from >= until { Vec::new() } else { self.read_log(from, until, max_bytes).await? };
        Ok(ReadBatches { batches, high_watermark, log_start_offset })
    }

    /// The high watermark, as fresh as `consistency` says: a read up to it sees what the caller may count on.
    ///
    /// # Errors
    /// Where freshness cannot be had here.
    pub async fn barrier(&self, consistency: Consistency) -> Result<Offset, ReadError> {
        match (consistency, &self.shared.lead) {
            (Consistency::Committed, _) => {}
            (Consistency::Linearizable, Lead::Idle { .. }) => {
                return Err(ReadError::NotLeader { leader: None });
            }
            (Consistency::Linearizable, Lead::Group(group)) => {
                group.linearize().await.map_err(|error| match error {
                    GroupError::NotLeader { leader } => ReadError::NotLeader { leader },
                    _ => ReadError::ShuttingDown,
                })?;
            }
        }
        Ok(self.progress().high_watermark)
    }

    /// Returns once all below `offset` is committed here; the caller bounds the time.
    ///
    /// # Errors
    /// Where the partition shuts down first.
    pub async fn wait_applied(&self, offset: Offset) -> Result<(), ReadError> {
        self.follow().past(offset).await.map(|_| ())
    }

    /// The offset that a start means now. With `clamp`, one that is trimmed or beyond the tail means the nearest that is not.
    ///
    /// # Errors
    /// Where the start is trimmed or beyond the tail, or the log cannot be read.
    pub async fn resolve(&self, start: Start, clamp: bool) -> Result<Offset, ReadError> {
        let Progress { high_watermark, log_start_offset, .. } = self.progress();
        let offset = match start {
            Start::Earliest => log_start_offset,
            Start::Tail => high_watermark,
            Start::TailMinus(n) => Offset::new(high_watermark.get().saturating_sub(n)).max(log_start_offset),
            Start::Time(time) => self.offset_at_time(time).await?.clamp(log_start_offset, high_watermark),
            Start::Offset(offset) if clamp => offset.clamp(log_start_offset, high_watermark),
            Start::Offset(offset) => offset,
        };
        self.check_range(offset)?;
        Ok(offset)
    }

    /// Moves the start of the log to `before`, at most to the high watermark, and gives back the space of whole segments
    /// before it. Returns where the log starts now.
    ///
    /// # Errors
    /// Why it was refused, or that nobody can say.
    pub async fn trim(&self, before: Offset) -> Result<Offset, ProduceError> {
        let (answer, outcome) = oneshot::channel();
        let proposal = Proposal::Trim { before, answer };
        self.shared.proposals.send(proposal).await.map_err(|_| self.closed())?;
        outcome.await.unwrap_or(Err(ProduceError::CommitUnknown))
    }

    /// Trims what retention no longer keeps. Returns the new start of the log where it moved.
    ///
    /// # Errors
    /// As [`Partition::trim`].
    pub async fn apply_retention(&self) -> Result<Option<Offset>, ProduceError> {
        let point = {
            let wall = Timestamp::new(self.shared.env.clock.now_unix_ms());
            let log = self.log();
            let mut held = self.shared.retention.lock().unwrap_or_else(PoisonError::into_inner);
            let now = held.1.now(wall, log.last_append_time());
            log.trim_point(held.0, now)
        };
        match point {
            Some(before) if before > self.progress().log_start_offset => self.trim(before).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Alters what can be altered while the partition is open: what retention keeps, and the size of new segments.
    pub fn alter(&self, settings: &PartitionSettings) {
        self.shared.retention.lock().unwrap_or_else(PoisonError::into_inner).0 = settings.retention;
        self.log().set_segment_bytes(settings.log.segment_bytes);
    }

    /// How the partition is.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        let log = self.log();
        PartitionStatus {
            id: self.shared.id,
            progress: self.progress(),
            last: log.last_log_id(),
            next_offset: log.next_offset(),
            last_append_time: log.last_append_time(),
            size_bytes: log.size_bytes(),
            damage: log.damage(),
            disk_full: log.is_full(),
            stopped: self.has_stopped(),
        }
    }

    /// What is damaged in it, as far as is known.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.log().damage()
    }

    /// Takes no more batches: those handed over are appended, later ones are refused.
    pub fn close(&self) {
        self.shared.room.close();
    }

    /// Who belongs to the partition's group.
    ///
    /// # Errors
    /// Where the replica keeps out of it.
    pub fn members(&self) -> Result<GroupMembers, GroupError> {
        Ok(self.shared.lead.group()?.members())
    }

    /// What this replica knows of the other members while it leads; nothing where it does not.
    ///
    /// # Errors
    /// Where the replica keeps out of its group.
    pub fn followers(&self) -> Result<BTreeMap<NodeId, FollowerState>, GroupError> {
        Ok(self.shared.lead.group()?.followers())
    }

    /// The members that lack something of the log, while this replica leads; none where it does not.
    ///
    /// # Errors
    /// Where the replica keeps out of its group.
    pub async fn laggards(&self) -> Result<Vec<Laggard>, GroupError> {
        let behind = self.followers()?.into_iter().filter(|(_, state)| state.lag_entries > 0);
        let behind: Vec<_> = behind.collect();
        if behind.is_empty() {
            return Ok(Vec::new());
        }
        let log = self.log().clone();
        let end = self.progress().high_watermark;
        let looked = self.shared.env.blocking.run(move || {
            let laggard = |(node, state): (NodeId, FollowerState)| Laggard::of(&log, end, node, &state);
            behind.into_iter().map(laggard).collect()
        });
        Ok(looked.await)
    }

    /// Adds a member that does not vote, where it is none yet, and waits until it has caught up: until it gets all that is in
    /// the log at some moment within an election timeout. The caller bounds the time: to give up takes nothing back, and to ask
    /// again goes on.
    ///
    /// # Errors
    /// Where this replica does not lead, or the change is refused or unknown.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), GroupError> {
        self.shared.lead.group()?.add_learner(node).await
    }

    /// Takes a member away that does not vote.
    ///
    /// # Errors
    /// As [`Partition::add_learner`].
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), GroupError> {
        self.shared.lead.group()?.remove_learner(node).await
    }

    /// Makes members the voters, in one joint change; new ones must have something of the log. A voter that is none any more
    /// leaves the group. To give up takes nothing back, and the same change asked for again goes on where another has
    /// stopped half way ([`GroupMembers::changing`]).
    ///
    /// # Errors
    /// As [`Partition::add_learner`].
    pub async fn change_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), GroupError> {
        self.shared.lead.group()?.change_voters(voters).await
    }

    /// Asks another voter to lead, and returns at once: [`Partition::follow`] tells when it does. Where none is named
    /// (`None::<NodeId>`) it is one that answers and has most of the log. To name this one does nothing.
    ///
    /// # Errors
    /// As [`Partition::add_learner`]. Refused where it is no voter, does not answer, or lacks much of the log.
    pub async fn transfer_leadership(&self, to: impl Into<Option<NodeId>>) -> Result<(), GroupError> {
        let to = to.into();
        self.shared.lead.group()?.transfer_leadership(to).await
    }

    /// Whether it takes part in its group, as opposed to one that is damaged or has stopped.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.shared.lead.group().is_ok() && !self.has_stopped()
    }

    /// Whether it takes part in its group no more: it was stopped, or could not go on.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.shared.lead.has_stopped()
    }

    /// Stops taking part in the partition's group, and takes no more batches. A damaged one: as [`Partition::close`].
    pub async fn stop(&self) {
        self.close();
        if let Lead::Group(group) = &self.shared.lead {
            group.stop().await;
        }
    }

    fn log(&self) -> &PartitionLog {
        self.shared.lead.log()
    }

    /// Why nobody takes proposals any more.
    fn closed(&self) -> ProduceError {
        self.log().stopped().map_or(ProduceError::ShuttingDown, ProduceError::Stopped)
    }

    fn check_range(&self, offset: Offset) -> Result<(), ReadError> {
        let Progress { high_watermark, log_start_offset, .. } = self.progress();
        if offset < log_start_offset {
            Err(ReadError::Trimmed { offset, log_start_offset, high_watermark })
        } else if offset > high_watermark {
            Err(ReadError::BeyondTail { offset, log_start_offset, high_watermark })
        } else {
            Ok(())
        }
    }

    async fn read_log(
        &self,
        from: Offset,
        until: Offset,
        max_bytes: usize,
    ) -> Result<Vec<storage::StoredBatch>, ReadError> {
        let log = self.log();
        if let Some(batches) = log.try_read_cached(from, until, max_bytes) {
            return Ok(batches);
        }
        let log = log.clone();
        let read = self.shared.env.blocking.run(move || log.read(from, until, max_bytes)).await;
        read.map_err(|error| self.read_error(from, error))
    }

    async fn offset_at_time(&self, time: Timestamp) -> Result<Offset, ReadError> {
        let log = self.log().clone();
        let found = self.shared.env.blocking.run(move || log.offset_at_time(time)).await;
        let found = found.map_err(|error| self.read_error(Offset::default(), error))?;
        Ok(found.unwrap_or_else(|| self.progress().high_watermark))
    }

    fn read_error(&self, offset: Offset, error: storage::ReadError) -> ReadError {
        let Progress { high_watermark, log_start_offset, .. } = self.progress();
        match error {
            storage::ReadError::Trimmed { log_start } => {
                ReadError::Trimmed { offset, log_start_offset: log_start, high_watermark }
            }
            storage::ReadError::Purged { .. } => {
                ReadError::Trimmed { offset, log_start_offset, high_watermark }
            }
            storage::ReadError::Damaged(damage) => ReadError::Damaged(damage),
            storage::ReadError::Stopped(reason) => ReadError::Stopped(reason),
            storage::ReadError::Io(error) => {
                ReadError::Io { file: error.path.clone(), reason: error.source.to_string() }
            }
            other => ReadError::Io { file: Default::default(), reason: other.to_string() },
        }
    }
}

/// A damaged replica, which is read and nothing else. `node` where its log's end is what was found sound.
async fn idle(
    env: &Env,
    log: PartitionLog,
    proposals: mpsc::Receiver<Proposal>,
    damage: Damage,
    node: Option<NodeId>,
) -> Lead {
    let noted = log.clone();
    let state = env.blocking.run(move || last_known(&noted, node)).await;
    drop(varve_env::spawn_task(refuse(proposals, damage)));
    Lead::idle(log, state)
}

/// Refuses whatever is proposed to a damaged replica.
async fn refuse(mut proposals: mpsc::Receiver<Proposal>, damage: Damage) {
    while let Some(proposal) = proposals.recv().await {
        proposal.answer(Err(ProduceError::Damaged(damage.clone())));
    }
}

/// Follows how far a partition is.
#[derive(Clone, Debug)]
pub struct Follower(watch::Receiver<State>);

impl Follower {
    pub(crate) fn new(state: watch::Receiver<State>) -> Self {
        Self(state)
    }

    /// How far it is now.
    pub fn now(&mut self) -> Progress {
        self.0.borrow_and_update().progress
    }

    /// Returns once the high watermark is at least `offset`; the caller bounds the time.
    ///
    /// # Errors
    /// Where the partition shuts down, or fails, first.
    pub async fn past(&mut self, offset: Offset) -> Result<Progress, ReadError> {
        let is_past = |state: &State| state.progress.high_watermark >= offset;
        match self.0.wait_for(|state| state.stopped || is_past(state)).await {
            Ok(state) if is_past(&state) => Ok(state.progress),
            _ => Err(ReadError::ShuttingDown),
        }
    }

    /// Returns at the next change.
    ///
    /// # Errors
    /// Where the partition shuts down first.
    pub async fn changed(&mut self) -> Result<Progress, ReadError> {
        self.0.changed().await.map_err(|_| ReadError::ShuttingDown)?;
        Ok(self.now())
    }
}

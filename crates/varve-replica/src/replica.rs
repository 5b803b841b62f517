//! The only voter of its group: what is synced here is committed.

use crate::produce::Original;
use crate::{OpenReplicaError, ProduceError, Progress};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};
use varve_env::Env;
use varve_record::{Index, NodeId, Offset, PartitionId, Term, Timestamp};
use varve_storage::{
    AppendError, Entry, LogId, OpenError, PartitionConfig, PartitionLog, ProducerCheck, StopReason, Storage,
    Vote,
};

/// A group's log, and how far it is committed.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    log: PartitionLog,
    term: Term,
    state: watch::Sender<State>,
}

/// What is known to be committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// Entries below it are committed.
    pub(crate) next_index: Index,
    pub(crate) progress: Progress,
    /// Nothing will be committed here any more.
    pub(crate) stopped: bool,
}

impl State {
    /// What is known of a log before anything is.
    pub(crate) fn unknown() -> Self {
        let progress = Progress {
            high_watermark: Offset::default(),
            log_start_offset: Offset::default(),
            leader: None,
            term: Term::default(),
        };
        Self { next_index: Index::default(), progress, stopped: false }
    }
}

/// Waits for the commit of what lies in the log.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    state: watch::Receiver<State>,
    log: PartitionLog,
}

impl Committed {
    pub(crate) fn new(state: watch::Receiver<State>, log: PartitionLog) -> Self {
        Self { state, log }
    }

    /// Returns once a batch is committed that was in the log when this was called.
    pub(crate) async fn reached(&mut self, original: &Original) -> Result<(), ProduceError> {
        let is_committed = |state: &State| state.progress.high_watermark >= original.next_offset;
        let leadership = |state: &State| (state.progress.leader, state.progress.term);
        let before = leadership(&self.state.borrow());
        let over = |state: &State| state.stopped || leadership(state) != before;
        let reached = match self.state.wait_for(|state| is_committed(state) || over(state)).await {
            Ok(state) => is_committed(&state),
            Err(_) => false,
        };
        // A new leader may have taken the batch back and put another in its place.
        if reached && self.still_holds(original) { Ok(()) } else { Err(ProduceError::CommitUnknown) }
    }

    fn still_holds(&self, original: &Original) -> bool {
        let Original { id, epoch, sequence, record_count, first_offset, .. } = *original;
        match self.log.check_producer(id, epoch, sequence, record_count) {
            ProducerCheck::Duplicate { first_offset: found, .. } => found == first_offset,
            _ => false,
        }
    }
}

impl Replica {
    /// Opens the group's log, or makes it, and leads it in a new term. A damaged log opens too: it can be read where it is
    /// sound, and takes nothing.
    pub(crate) async fn open(
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        node: NodeId,
        config: PartitionConfig,
    ) -> Result<Self, OpenReplicaError> {
        let log = open_log(env, storage, id, config).await?;
        let last = log.last_log_id();
        let log_start_offset = log.log_start_offset();
        let progress = Progress {
            // A log whose end is damaged may know of less than was trimmed; the range between the two is never negative.
            high_watermark: log.next_offset().max(log_start_offset),
            log_start_offset,
            leader: None,
            term: last.map_or_else(Term::default, |last| last.term),
        };
        let next_index = last.map_or(Index::new(0), |last| last.index.next());
        let state = watch::Sender::new(State { next_index, progress, stopped: false });
        let mut replica = Self { log, term: progress.term, state };
        if replica.log.damage().is_none() {
            replica.lead(env, storage, id, node).await?;
        }
        Ok(replica)
    }

    /// A replica that is read and nothing else.
    pub(crate) fn idle(log: PartitionLog, state: State) -> Self {
        Self { log, term: state.progress.term, state: watch::Sender::new(state) }
    }

    pub(crate) fn log(&self) -> &PartitionLog {
        &self.log
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.state.borrow().stopped
    }

    pub(crate) fn progress(&self) -> Progress {
        self.state.borrow().progress
    }

    /// The name that the next entry gets.
    pub(crate) fn next_log_id(&self) -> LogId {
        let index = self.log.last_log_id().map_or(Index::new(0), |last| last.index.next());
        LogId::new(self.term, index)
    }

    /// Appends one entry, and calls back once: when it is committed, when it is refused, or when nobody can say. Only one
    /// task proposes to a group.
    pub(crate) fn propose(
        &self,
        entry: Entry,
        done: impl FnOnce(Result<Extent, ProduceError>) + Send + 'static,
    ) {
        let (log, state) = (self.log.clone(), self.state.clone());
        let (index, append_time) = (entry.log_id.index, entry.append_time);
        // Only this task appends, so that what lies at the end now is where the entry goes.
        let first = self.log.next_offset();
        let extent = Extent { first, next: first + u64::from(entry.record_count), append_time };
        let (called, refused) = Once::pair(done);
        let on_synced = move |synced: Result<(), AppendError>| {
            called.call(match synced {
                Ok(()) => {
                    commit(&log, &state, index, extent.next);
                    Ok(extent)
                }
                Err(error) => {
                    state.send_modify(|state| state.stopped = true);
                    Err(error.into())
                }
            });
        };
        if let Err(refusal) = self.log.append(vec![entry], Box::new(on_synced)) {
            refused.call(Err(refusal.into()));
        }
    }

    /// Moves the start of the log, which never goes back, and gives back the space of whole segments before it. Returns where
    /// the log starts now.
    pub(crate) fn trim_to(&self, log_start_offset: Offset) -> Offset {
        let mut start = log_start_offset;
        self.state.send_modify(|state| {
            start = state.progress.log_start_offset.max(log_start_offset);
            state.progress.log_start_offset = start;
        });
        self.log.trim(start);
        start
    }

    async fn lead(
        &mut self,
        env: &Env,
        storage: &Storage,
        id: PartitionId,
        node: NodeId,
    ) -> Result<(), OpenReplicaError> {
        let voted = storage.votes().get(id).map_or(self.term, |vote| vote.term);
        self.term = voted.max(self.term).next();
        let vote = Vote { term: self.term, voted_for: Some(node), committed: true };
        let (sender, saved) = oneshot::channel();
        storage.votes().save(id, vote, Box::new(move |result| drop(sender.send(result))));
        let saved = saved.await.unwrap_or(Err(AppendError::StorageStopped(StopReason::Closed)));
        saved.map_err(|error| OpenReplicaError::Begin(error.into()))?;
        self.append_blank(env).await.map_err(OpenReplicaError::Begin)?;
        let term = self.term;
        self.state.send_modify(|state| {
            state.progress.leader = Some(node);
            state.progress.term = term;
        });
        Ok(())
    }

    /// A leader commits what lies before its term with the first entry of its own.
    async fn append_blank(&self, env: &Env) -> Result<(), ProduceError> {
        let now = Timestamp::new(env.clock.now_unix_ms());
        let time = now.max(self.log.last_append_time());
        let (sender, synced) = oneshot::channel();
        self.propose(Entry::blank(self.next_log_id(), time), move |result| drop(sender.send(result)));
        synced.await.unwrap_or(Err(ProduceError::CommitUnknown)).map(|_| ())
    }
}

/// Where an entry's records lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) append_time: Timestamp,
}

/// A callback that two may call and one does: the log's writer, or whoever was refused by the log.
struct Once<F>(Arc<Mutex<Option<F>>>);

impl<F: FnOnce(Result<Extent, ProduceError>)> Once<F> {
    fn pair(call: F) -> (Self, Self) {
        let shared = Arc::new(Mutex::new(Some(call)));
        (Self(Arc::clone(&shared)), Self(shared))
    }

    fn call(self, result: Result<Extent, ProduceError>) {
        let call = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(call) = call {
            call(result);
        }
    }
}

fn commit(log: &PartitionLog, state: &watch::Sender<State>, index: Index, next_offset: Offset) {
    log.set_committed(index);
    state.send_modify(|state| {
        // Callbacks come oldest first, but nothing here may depend on it.
        state.next_index = state.next_index.max(index.next());
        state.progress.high_watermark = state.progress.high_watermark.max(next_offset);
    });
}

pub(crate) async fn open_log(
    env: &Env,
    storage: &Storage,
    id: PartitionId,
    config: PartitionConfig,
) -> Result<PartitionLog, OpenReplicaError> {
    let storage = storage.clone();
    env.blocking
        .run(move || match storage.open_partition(id, config.clone()) {
            // A vote is saved only where there is a log; and it stays where that was given up on purpose.
            Err(OpenError::NoSuchPartition { .. })
                if storage.votes().get(id).is_some() && !storage.has_left(id)? =>
            {
                Err(OpenReplicaError::Lost { id })
            }
            Err(OpenError::NoSuchPartition { .. }) => Ok(storage.create_partition(id, config)?),
            opened => Ok(opened?),
        })
        .await
}

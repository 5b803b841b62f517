//! A partition's log and vote, as consensus wants to see them.

use super::commit_clock::{CommitClock, Mark, Synced};
use super::log_entry::LogEntry;
use super::steady::Changes;
use super::types::{RaftLogId, RaftVote, Types, from_raft, to_raft};
use futures::{Stream, stream};
use openraft::errors::LeaderChanged;
use openraft::impls::leader_id_std::LeaderId;
use openraft::storage::{
    IOFlushed, LeaderBoundedStreamError, LeaderBoundedStreamResult, LogState, RaftLogStorage,
};
use openraft::{OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use varve_env::Blocking;
use varve_record::{Index, NodeId, Offset, PartitionId, Term};
use varve_storage::{AppendError, Entry, PartitionLog, Vote, VoteStore};

/// Bytes of entries that are read at once, for a follower or to be applied.
pub(crate) const READ_BYTES_MAX: usize = 1024 * 1024;
/// The pause before entries that found the log busy or the disk full are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Tries of entries that lie behind the log's end: a snapshot that fills the gap is on its way.
const GAP_TRIES_MAX: u32 = 3_000;

/// Reads a partition's log for consensus. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    log: PartitionLog,
    votes: VoteStore,
    group: PartitionId,
    blocking: Blocking,
    clock: CommitClock,
}

/// Writes a partition's log for consensus, which alone may: one task calls it, one call after the other.
#[derive(Debug)]
pub(crate) struct LogStore {
    reader: LogReader,
    /// Appends handed to the log, and those of them that it has answered.
    submitted: u64,
    answered: watch::Sender<u64>,
    /// All records below it are durable here, committed or not.
    synced: watch::Sender<Offset>,
    /// Entries wait for room on the disk, and all else in the group behind them.
    waits_for_room: Arc<AtomicBool>,
    /// The replica is about to stop: what waits need not wait any more.
    stopping: Arc<AtomicBool>,
    changes: Changes,
}

impl LogStore {
    pub(crate) fn new(
        log: PartitionLog,
        votes: VoteStore,
        group: PartitionId,
        blocking: Blocking,
        clock: CommitClock,
    ) -> Self {
        let reader = LogReader { log, votes, group, blocking, clock };
        let synced = watch::Sender::new(Offset::default());
        let (answered, waits_for_room, stopping) = (watch::Sender::new(0), Arc::default(), Arc::default());
        let changes = Changes::default();
        Self { reader, submitted: 0, answered, synced, waits_for_room, stopping, changes }
    }

    /// Set, it ends what waits for room: the replica is about to stop.
    pub(crate) fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    /// Tells of votes before they are saved, and of entries before they are taken back.
    pub(super) fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// Tells whether entries wait for room on the disk.
    pub(crate) fn waits_for_room(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waits_for_room)
    }

    /// Follows what of this node's appends is durable here.
    pub(crate) fn watch_synced(&self) -> watch::Receiver<Offset> {
        self.synced.subscribe()
    }

    /// Gives each entry its offset and time, in front of the log, which checks them again.
    fn place(&self, entries: impl IntoIterator<Item = LogEntry>) -> io::Result<Vec<Entry>> {
        let log = &self.reader.log;
        let (mut next_offset, mut last_append_time) = (log.next_offset(), log.last_append_time());
        let place = |entry: LogEntry| {
            let mut entry = entry.placed(next_offset, last_append_time).map_err(io::Error::other)?;
            if entry.kind == varve_storage::EntryKind::Batch {
                let batch = entry.to_batch().map_err(io::Error::other)?;
                entry.record_count = batch.record_count();
            }
            entry.base_offset = next_offset;
            next_offset = entry.next_offset();
            last_append_time = last_append_time.max(entry.append_time);
            Ok(entry)
        };
        entries.into_iter().map(place).collect()
    }

    /// Appends, and waits while the log is busy, full, or about to be replaced by a snapshot. Nothing else happens in this
    /// group meanwhile: a replica that cannot write does not lead, for its heartbeats stop too.
    async fn append_entries(
        &mut self,
        entries: Vec<Entry>,
        marks: Vec<(u64, bool, Arc<Mark>)>,
        callback: IOFlushed<Types>,
    ) -> io::Result<()> {
        let callback = Arc::new(Mutex::new(Some(callback)));
        let next_offset = entries.last().map_or(Offset::default(), Entry::next_offset);
        let mut gap_tries = 0;
        // Nothing where nobody watches.
        let watched = (!marks.is_empty()).then(|| Arc::new(OnceLock::<Synced>::new()));
        loop {
            let (once, answered, synced) =
                (Arc::clone(&callback), self.answered.clone(), self.synced.clone());
            let durable = watched.clone();
            let done = Box::new(move |result: Result<(), AppendError>| {
                answered.send_modify(|count| *count += 1);
                if result.is_ok() {
                    if let Some(watched) = durable.as_ref().and_then(|watched| watched.get()) {
                        watched.now();
                    }
                    synced.send_replace(next_offset);
                }
                if let Some(callback) = once.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    callback.io_completed(result.map_err(io::Error::other));
                }
            });
            // Before it is durable, which may be at once.
            if let Some(watched) = &watched {
                watched.get_or_init(|| self.reader.clock.appended(&marks));
            }
            match self.reader.log.append_let_in(entries.clone(), done) {
                Ok(_) => {
                    self.submitted += 1;
                    self.waits_for_room.store(false, Ordering::Relaxed);
                    return Ok(());
                }
                Err(AppendError::NotContiguous { expected, found })
                    if found > expected && gap_tries < GAP_TRIES_MAX =>
                {
                    gap_tries += 1;
                }
                Err(AppendError::DiskFull) => self.waits_for_room.store(true, Ordering::Relaxed),
                Err(AppendError::Truncating | AppendError::QueueFull { .. }) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            if self.stopping.load(Ordering::Relaxed) {
                return Err(io::Error::other("the replica stops before its entries are written"));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Returns once all that was appended before is durable, or has failed.
    async fn flushed(&self) {
        let submitted = self.submitted;
        // The sender lives as long as this does, so that there is always an answer to wait for.
        drop(self.answered.subscribe().wait_for(|answered| *answered >= submitted).await);
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = self.reader.log.clone();
        let before_first = log.first_index().prev();
        let purged = match before_first {
            Some(index) => {
                let found = self.reader.blocking.run(move || log.log_id_at(index)).await;
                Some(found.map_err(io::Error::other)?.ok_or_else(|| {
                    io::Error::other("the log's first segment does not say what lies before it")
                })?)
            }
            None => None,
        };
        let last_log_id = self.reader.log.last_log_id().map(to_raft);
        Ok(LogState { last_purged_log_id: purged.map(to_raft), last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.changes.note();
        // A durable vote tells consensus that all written under earlier votes is durable too.
        self.flushed().await;
        let vote = Vote {
            term: Term::new(vote.leader_id.term),
            voted_for: Some(NodeId::new(vote.leader_id.voted_for)),
            committed: vote.committed,
        };
        let (sender, saved) = oneshot::channel();
        self.reader.votes.save(self.reader.group, vote, Box::new(move |result| drop(sender.send(result))));
        match saved.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the vote was not saved")),
        }
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut marks = Vec::new();
        let entries = entries.into_iter().inspect(|entry| {
            let index = entry.entry.log_id.index.get();
            marks.extend(entry.mark.clone().map(|mark| (index, entry.is_own(), mark)));
        });
        let entries = self.place(entries)?;
        self.append_entries(entries, marks, callback).await
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.changes.note();
        self.reader.clock.truncated(last.map(|last| last.index));
        let last_kept = last.map(|last| Index::new(last.index));
        let found = self.reader.log.last_log_id();
        if found.map(|last| last.index) <= last_kept {
            return Ok(());
        }
        let (partition, last_kept_index) = (self.reader.group, last_kept.map_or(0, Index::get));
        tracing::info!(%partition, last_kept_index, ?found, "entries that another leader has replaced are cut off");
        let (sender, done) = oneshot::channel();
        self.reader.log.truncate_after(last_kept, Box::new(move |result| drop(sender.send(result))));
        match done.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log was not truncated")),
        }
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        // The log deletes what is trimmed, and nothing else, whatever it is asked for here.
        let upto = from_raft(&upto);
        if self.reader.log.last_log_id().is_none_or(|last| last.index < upto.index) {
            return Err(io::Error::other(format!("refused to purge up to {upto}: the log ends before it")));
        }
        self.reader.log.purge(upto.index);
        Ok(())
    }
}

impl LogReader {
    /// As many entries as come to `max_bytes`, at least one where there is any.
    async fn entries(&self, from: Index, until: Index, max_bytes: usize) -> io::Result<Vec<LogEntry>> {
        let entries = match self.log.try_entries_cached(from, until, max_bytes) {
            Some(entries) => entries,
            None => {
                let log = self.log.clone();
                let read = self.blocking.run(move || log.entries(from, until, max_bytes)).await;
                read.map_err(io::Error::other)?
            }
        };
        let clock = &self.clock;
        let watched = |entry: Entry| {
            let trace = clock.trace_of(entry.log_id.index.get());
            let mut entry = LogEntry::stored(entry);
            entry.mark = trace.and_then(|trace| clock.mark(Some(trace)));
            entry
        };
        Ok(entries.into_iter().map(watched).collect())
    }

    /// Entries in order, read as they are asked for, until the log ends or `until` is reached.
    fn stream(&self, from: Index, until: Index) -> impl Stream<Item = io::Result<LogEntry>> + Send + 'static {
        let reader = self.clone();
        let chunks = stream::unfold(Some(from), move |next| {
            let reader = reader.clone();
            async move {
                let next = next.filter(|next| *next < until)?;
                match reader.entries(next, until, READ_BYTES_MAX).await {
                    Ok(entries) => {
                        let last = entries.last()?.entry.log_id.index;
                        Some((entries.into_iter().map(Ok).collect(), Some(last.next())))
                    }
                    Err(error) => Some((vec![Err(error)], None)),
                }
            }
        });
        futures::StreamExt::flat_map(chunks, stream::iter)
    }

    fn vote(&self) -> Option<RaftVote> {
        let vote = self.votes.get(self.group)?;
        let leader_id = LeaderId { term: vote.term.get(), voted_for: vote.voted_for.map_or(0, NodeId::get) };
        Some(RaftVote { leader_id, committed: vote.committed })
    }

    fn bounds(&self, range: &impl RangeBounds<u64>) -> (Index, Index) {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(until) => *until,
            Bound::Unbounded => u64::MAX,
        };
        // What is purged may be asked for, and is left out.
        (Index::new(from).max(self.log.first_index()), Index::new(until))
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<LogEntry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut next, until) = self.bounds(&range);
        let mut entries = Vec::new();
        while next < until {
            let more = self.entries(next, until, usize::MAX).await?;
            let Some(last) = more.last() else { break };
            next = last.entry.log_id.index.next();
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        self.entries(Index::new(start), Index::new(end), READ_BYTES_MAX).await
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<LogEntry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, until) = self.bounds(&range);
        self.stream(from, until)
    }

    async fn leader_bounded_stream<R>(
        &mut self,
        leader: LeaderId<u64, u64>,
        range: R,
    ) -> impl Stream<Item = LeaderBoundedStreamResult<Types>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, until) = self.bounds(&range);
        let reader = self.clone();
        let first = reader.check_leader(&leader).err();
        let entries = futures::StreamExt::map(self.stream(from, until), move |entry| {
            let entry = entry.map_err(LeaderBoundedStreamError::IoError)?;
            reader.check_leader(&leader)?;
            Ok(entry)
        });
        // After a change of leaders nothing more is to come.
        let mut failed = false;
        let first_failed = first.is_some();
        let until_failed = futures::StreamExt::take_while(
            futures::StreamExt::chain(stream::iter(first.map(Err)), entries),
            move |item: &LeaderBoundedStreamResult<Types>| {
                let goes_on = !failed;
                failed |= item.is_err() || first_failed;
                futures::future::ready(goes_on)
            },
        );
        Box::pin(until_failed)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.vote())
    }
}

impl LogReader {
    fn check_leader(&self, leader: &LeaderId<u64, u64>) -> Result<(), LeaderBoundedStreamError<Types>> {
        match self.vote() {
            Some(vote) if vote.committed && vote.leader_id == *leader => Ok(()),
            vote => Err(LeaderChanged::new(*leader, vote).into()),
        }
    }
}

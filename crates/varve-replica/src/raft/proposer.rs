//! The one task that decides what a leader proposes.
//!
//! It judges each batch against the state at the log's end, what it has proposed itself included: it carries that state on by
//! itself, for the entries are appended elsewhere. What it proposes names the leadership and the offset that it was judged
//! for. Where either is another by the time the entry is appended, it is refused or voided, and judged anew.

use super::answer::Answer;
use super::flights::Flights;
use super::group::Group;
use super::proposal::Proposal as Entering;
use crate::committed::Extent;
use crate::judge::{Verdict, judge};
use crate::produce::Outcome;
use crate::proposal::Proposal;
use crate::{Acks, Produce, ProduceError, Produced};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use varve_env::WallClock;
use varve_record::{Offset, PartitionId, Term, Timestamp};
use varve_storage::{EndState, Entry, LogId};

/// How long a leader that may not write now is tried again, before its callers are sent away.
const REFUSED_TIME_MAX: Duration = Duration::from_secs(2);
/// The pause between such tries.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct GroupProposer {
    group: Arc<Group>,
    clock: Arc<dyn WallClock>,
    producers_max: usize,
    flights: Arc<Flights>,
    lead: Option<Lead>,
    /// Since when what was proposed is refused, and nothing was appended.
    refused_since: Option<Instant>,
    /// When it may be tried again: it may be refused at once, and would be tried without end.
    try_at: Instant,
    synced: watch::Receiver<Offset>,
}

/// The log's end in one leadership, with all that was proposed in it.
struct Lead {
    term: Term,
    end: EndState,
    /// Whether it was said that this node's clock lies behind.
    said_behind: bool,
}

/// How far this node's clock may lie behind the newest append time before that is said, in milliseconds.
const BEHIND_MS_MAX: i64 = 60_000;

impl GroupProposer {
    pub(crate) fn new(group: Arc<Group>, clock: Arc<dyn WallClock>, producers_max: usize) -> Self {
        let flights = Flights::new(group.log().clone());
        let synced = group.synced();
        let try_at = Instant::now();
        Self { group, clock, producers_max, flights, lead: None, refused_since: None, try_at, synced }
    }

    /// Takes proposals until the last handle is gone.
    pub(crate) async fn run(mut self, mut proposals: mpsc::Receiver<Proposal>) {
        let mut leadership = self.group.leadership();
        let flights = Arc::clone(&self.flights);
        loop {
            self.follow_leadership();
            let now = Instant::now();
            if flights.has_refused() && now >= self.try_at {
                self.try_at = now + RETRY_PAUSE;
                self.try_again().await;
            }
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() || self.group.has_stopped() { break },
                () = flights.changed.notified() => {}
                changed = self.synced.changed(), if flights.awaits_sync() => match changed {
                    Ok(()) => flights.synced(*self.synced.borrow_and_update()),
                    Err(_) => break,
                },
                // While something waits to be tried again nothing may overtake it.
                proposal = proposals.recv(), if !flights.has_refused() => match proposal {
                    Some(proposal) => self.propose(proposal).await,
                    None => break,
                },
                () = tokio::time::sleep_until(self.try_at), if flights.has_refused() => {}
            }
        }
        // Consensus is over; whoever still comes is told.
        proposals.close();
        while let Some(proposal) = proposals.recv().await {
            proposal.answer(Err(self.over()));
        }
    }

    /// Forgets what was known of a leadership that is over.
    fn follow_leadership(&mut self) {
        let leading = self.group.leading();
        if self.lead.as_ref().is_some_and(|lead| Some(lead.term) != leading) {
            self.lead = None;
            self.flights.abandon_before(leading);
        }
    }

    /// Judges again what was refused: once nothing is in flight the log's end is what it seems.
    async fn try_again(&mut self) {
        if self.flights.take_appended() {
            self.refused_since = None;
        }
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= REFUSED_TIME_MAX {
            let leader = self.group.leader();
            for proposal in self.flights.take_refused() {
                proposal.answer(Err(ProduceError::NotLeader { leader }));
            }
            self.refused_since = None;
            self.lead = None;
        } else if self.flights.is_clear() {
            self.lead = None;
            for proposal in self.flights.take_refused() {
                self.propose(proposal).await;
            }
        }
    }

    async fn propose(&mut self, proposal: Proposal) {
        let term = match self.ready(&proposal) {
            Ok(term) => term,
            Err(refusal) => return proposal.answer(Err(refusal)),
        };
        let Some((mut entry, mut proposal)) = self.judge(proposal) else { return };
        if let Proposal::Produce { produce, in_hand: Some(in_hand), .. } = &proposal {
            self.group.commits().queued(in_hand.since, produce.trace);
            entry.mark = self.group.commits().mark(produce.trace);
        }
        let synced = match &mut proposal {
            Proposal::Produce { produce, .. } if produce.acks == Acks::Leader => {
                Some(extent(produce, &entry))
            }
            Proposal::Produce { produce, .. } if produce.acks == Acks::None => {
                proposal.answer_early(Ok(Produced::UNKNOWN));
                None
            }
            _ => None,
        };
        let flight = self.flights.take_off(term, proposal);
        if let Some(extent) = synced {
            // What was synced meanwhile is those that wait already.
            if self.synced.has_changed().unwrap_or(false) {
                self.flights.synced(*self.synced.borrow_and_update());
            }
            // What was synced before is not this batch, though it may have lain further on: in another leadership.
            self.synced.mark_unchanged();
            self.flights.answer_when_synced(&flight, extent);
        }
        let answer = Answer::new(move |result| flight.land(result));
        // Where consensus has stopped the flight is dropped, and that answers it.
        drop(self.group.raft().write(entry).responder(answer).with_leader(term.get()).await);
    }

    /// The leadership that a proposal may be made for now.
    fn ready(&mut self, proposal: &Proposal) -> Result<Term, ProduceError> {
        let log = self.group.log();
        if let Some(reason) = log.stopped() {
            return Err(ProduceError::Stopped(reason));
        }
        // What consensus has taken is appended in the end, and until then nothing else is: what does not fit must not get there.
        let batch_bytes = match proposal {
            Proposal::Produce { produce, .. } => Some(produce.batch.size_bytes()),
            // It leads out of a full disk.
            Proposal::Trim { .. } => None,
        };
        if !log.has_room_for(batch_bytes) {
            return Err(ProduceError::DiskFull);
        }
        let term =
            self.group.leading().ok_or_else(|| ProduceError::NotLeader { leader: self.group.leader() })?;
        if self.lead.as_ref().is_none_or(|lead| lead.term != term) {
            self.lead = Some(Lead { term, end: log.end_state(), said_behind: false });
        }
        Ok(term)
    }

    /// Answers what need not be appended; makes an entry of what must.
    fn judge(&mut self, proposal: Proposal) -> Option<(Entering, Proposal)> {
        let time = Timestamp::new(self.clock.now_unix_ms());
        let progress = self.group.state().borrow().progress;
        let group = self.group.id();
        let lead = self.lead.as_mut()?;
        lead.look_at(time, group);
        match proposal {
            Proposal::Produce { produce, answer, room, in_hand } => match judge(&lead.end, &produce) {
                Ok(Verdict::Append) => {
                    let (entry, produce) = lead.append(produce, time, self.producers_max);
                    Some((entry, Proposal::Produce { produce, answer, room, in_hand }))
                }
                Ok(Verdict::Duplicate { of, produced }) => {
                    drop(answer.send(Outcome::Duplicate { of, produced }));
                    None
                }
                Err(refusal) => {
                    drop(answer.send(Outcome::Done(Err(refusal))));
                    None
                }
            },
            Proposal::Trim { before, answer } if before <= progress.log_start_offset => {
                drop(answer.send(Ok(progress.log_start_offset)));
                None
            }
            Proposal::Trim { before, answer } => {
                // Only what is committed can be trimmed.
                let before = before.min(progress.high_watermark);
                Some((lead.trim(before, time, self.producers_max), Proposal::Trim { before, answer }))
            }
        }
    }

    fn over(&self) -> ProduceError {
        match self.group.log().stopped() {
            Some(reason) => ProduceError::Stopped(reason),
            None => ProduceError::ShuttingDown,
        }
    }
}

impl Lead {
    /// Append times never go back: where a clock was far ahead once, they stand still until all clocks are there. Whoever reads
    /// or keeps records by time has to know.
    fn look_at(&mut self, now: Timestamp, partition: PartitionId) {
        let newest = self.end.last_append_time;
        let behind_ms = newest.get().saturating_sub(now.get());
        if behind_ms > BEHIND_MS_MAX && !self.said_behind {
            self.said_behind = true;
            let (newest_ms, now_ms) = (newest.get(), now.get());
            tracing::warn!(%partition, behind_ms, newest_ms, now_ms, "the newest append time lies ahead of this node's clock: \
                append times stand still until it is reached; look at the clocks of all nodes");
        }
    }

    fn append(&mut self, produce: Produce, time: Timestamp, producers_max: usize) -> (Entering, Produce) {
        let base_offset = self.end.next_offset;
        let batch = produce.batch.with_base_offset(base_offset);
        let entry = Entry::batch(self.next_log_id(), time.max(self.end.last_append_time), batch.clone());
        self.end.apply(&entry, Some(&batch), producers_max);
        // Kept for another try; the bytes are shared.
        (entering(entry, Some(base_offset)), Produce { batch, ..produce })
    }

    fn trim(&mut self, before: Offset, time: Timestamp, producers_max: usize) -> Entering {
        let entry = Entry::trim(self.next_log_id(), time.max(self.end.last_append_time), before);
        let entry = Entry { base_offset: self.end.next_offset, ..entry };
        self.end.apply(&entry, None, producers_max);
        entering(entry, None)
    }

    /// About the name that the next entry gets: consensus appends entries of its own between, so the index may be higher.
    fn next_log_id(&self) -> LogId {
        LogId::new(self.term, self.end.next_index())
    }
}

fn entering(entry: Entry, expected: Option<Offset>) -> Entering {
    Entering { kind: entry.kind, append_time: entry.append_time, expected, body: entry.body, mark: None }
}

/// Where a batch lies that is about to be appended.
fn extent(produce: &Produce, entry: &Entering) -> Extent {
    let first = produce.batch.base_offset();
    let next = first + u64::from(produce.batch.record_count());
    Extent { first, next, append_time: entry.append_time }
}

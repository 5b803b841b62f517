//! Proposals that were handed to consensus and are not answered yet.

use super::types::{Applied, Types};
use crate::committed::Extent;
use crate::proposal::Proposal;
use crate::{ProduceError, Produced};
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use varve_record::{NodeId, Offset, Term};
use varve_storage::PartitionLog;

/// What waits for an answer, by the order in which it was proposed.
#[derive(Debug)]
pub(crate) struct Flights {
    log: PartitionLog,
    table: Mutex<Table>,
    /// Told when something was refused that may be tried again, or the last one was answered.
    pub(crate) changed: Notify,
    /// Something was appended since somebody asked.
    appended: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    flying: BTreeMap<u64, (Term, Proposal)>,
    /// Never appended, and to be judged again.
    refused: BTreeMap<u64, Proposal>,
    /// Those that are answered once they are durable here, by the offset up to which that must be so.
    leaders: BTreeMap<Offset, (u64, Extent)>,
}

impl Flights {
    pub(crate) fn new(log: PartitionLog) -> Arc<Self> {
        let (table, changed, appended) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Self { log, table, changed, appended })
    }

    /// Notes a proposal that is about to be handed over for the leadership of `term`; what is given back must be called with
    /// its outcome.
    pub(crate) fn take_off(self: &Arc<Self>, term: Term, proposal: Proposal) -> Flight {
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        table.flying.insert(number, (term, proposal));
        Flight { flights: Arc::clone(self), number, landed: false }
    }

    /// Answers a proposal that is about to be handed over once its records are durable here.
    pub(crate) fn answer_when_synced(&self, flight: &Flight, extent: Extent) {
        self.lock().leaders.insert(extent.next, (flight.number, extent));
    }

    pub(crate) fn awaits_sync(&self) -> bool {
        !self.lock().leaders.is_empty()
    }

    /// Records below `next` are durable here. What was refused meanwhile is not among those that wait: nothing is proposed
    /// behind it until it is judged again.
    pub(crate) fn synced(&self, next: Offset) {
        let mut table = self.lock();
        while let Some(entry) = table.leaders.first_entry().filter(|entry| *entry.key() <= next) {
            let (number, extent) = entry.remove();
            if let Some((_, proposal)) = table.flying.get_mut(&number) {
                proposal.answer_early(Ok(Produced::appended(extent)));
            }
        }
    }

    /// Whether something was appended since this was asked last.
    pub(crate) fn take_appended(&self) -> bool {
        self.appended.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn has_refused(&self) -> bool {
        !self.lock().refused.is_empty()
    }

    /// Whether nothing waits for consensus.
    pub(crate) fn is_clear(&self) -> bool {
        self.lock().flying.is_empty()
    }

    /// What was refused, in the order in which it was proposed.
    pub(crate) fn take_refused(&self) -> Vec<Proposal> {
        std::mem::take(&mut self.lock().refused).into_values().collect()
    }

    /// This replica no longer leads in terms before `term`: nobody here can say what becomes of what was proposed in them.
    pub(crate) fn abandon_before(&self, term: Option<Term>) {
        let abandoned: Vec<Proposal> = {
            let mut table = self.lock();
            let lost = |proposed: Term| term.is_none_or(|term| proposed < term);
            table.leaders.clear();
            let numbers: Vec<u64> =
                table.flying.iter().filter(|(_, (at, _))| lost(*at)).map(|(number, _)| *number).collect();
            numbers.iter().filter_map(|number| table.flying.remove(number)).map(|(_, p)| p).collect()
        };
        for proposal in abandoned {
            proposal.answer(Err(self.unknown()));
        }
        self.changed.notify_one();
    }

    fn land(&self, number: u64, result: ClientWriteResult<Types>) {
        let Some((_, proposal)) = self.lock().flying.remove(&number) else { return };
        match result {
            Ok(response) => match response.data {
                Applied::Done { first, next, append_time } => {
                    self.appended.store(true, Ordering::Relaxed);
                    proposal.answer(Ok(Extent { first, next, append_time }));
                }
                Applied::Void => self.refuse(number, proposal),
            },
            Err(ClientWriteError::ForwardToLeader(forward)) => match forward.reason {
                // Not appended, and this replica may go on leading.
                ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer => {
                    self.refuse(number, proposal)
                }
                ForwardReason::NotLeader => {
                    let leader = forward.leader_id.map(NodeId::new);
                    proposal.answer(Err(ProduceError::NotLeader { leader }));
                }
            },
            Err(ClientWriteError::LogEntryDiscarded(_)) => proposal.answer(Err(self.unknown())),
            Err(error) => proposal.answer(Err(ProduceError::Internal(error.to_string()))),
        }
        // Only what was refused waits for the others' answers.
        if self.has_refused() {
            self.changed.notify_one();
        }
    }

    fn lose(&self, number: u64) {
        let lost = self.lock().flying.remove(&number);
        if let Some((_, proposal)) = lost {
            proposal.answer(Err(self.unknown()));
            self.changed.notify_one();
        }
    }

    fn refuse(&self, number: u64, proposal: Proposal) {
        let mut table = self.lock();
        table.leaders.retain(|_, (of, _)| *of != number);
        table.refused.insert(number, proposal);
    }

    /// Why nobody can say what became of a proposal.
    fn unknown(&self) -> ProduceError {
        match self.log.stopped() {
            Some(reason) => ProduceError::Stopped(reason),
            None => ProduceError::CommitUnknown,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One proposal on its way through consensus.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Arc<Flights>,
    number: u64,
    landed: bool,
}

impl Flight {
    pub(crate) fn land(mut self, result: ClientWriteResult<Types>) {
        self.landed = true;
        self.flights.land(self.number, result);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Consensus has stopped with it.
        if !self.landed {
            self.flights.lose(self.number);
        }
    }
}

//! The one task that decides what enters a partition's log.
//!
//! It owns the log's end: conditions, duplicates and append times are judged here and nowhere else, in the order in which
//! batches arrive, entries that are not synced yet included. The sync itself is the writer's, which folds all that was
//! appended in the meantime into one.

use crate::produce::Outcome;
use crate::replica::Replica;
use crate::{Acks, Produce, ProduceError, Produced};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use varve_env::WallClock;
use varve_record::{Batch, Offset, Timestamp};
use varve_storage::{Entry, ProducerCheck};

/// What the proposer is asked to do.
#[derive(Debug)]
pub(crate) enum Proposal {
    /// Append a batch.
    Produce {
        produce: Produce,
        answer: oneshot::Sender<Outcome>,
        /// Room in flight, given back when the batch is synced.
        room: OwnedSemaphorePermit,
    },
    /// Move the start of the log.
    Trim { before: Offset, answer: oneshot::Sender<Result<Offset, ProduceError>> },
}

#[derive(Debug)]
pub(crate) struct Proposer {
    replica: Replica,
    clock: Arc<dyn WallClock>,
}

impl Proposer {
    pub(crate) fn new(replica: Replica, clock: Arc<dyn WallClock>) -> Self {
        Self { replica, clock }
    }

    /// Takes proposals until the last handle is gone.
    pub(crate) async fn run(self, mut proposals: mpsc::Receiver<Proposal>) {
        while let Some(proposal) = proposals.recv().await {
            match proposal {
                Proposal::Produce { produce, answer, room } => self.produce(produce, answer, room),
                Proposal::Trim { before, answer } => self.trim(before, answer),
            }
        }
    }

    fn produce(&self, produce: Produce, answer: oneshot::Sender<Outcome>, room: OwnedSemaphorePermit) {
        match self.judge(&produce) {
            Ok(None) => self.append(produce, answer, room),
            // Whoever does not wait for the answer any more does not need it.
            Ok(Some(duplicate)) => drop(answer.send(duplicate)),
            Err(refusal) => drop(answer.send(Outcome::Done(Err(refusal)))),
        }
    }

    /// Whether the batch may be appended, is there already, or must be refused.
    fn judge(&self, produce: &Produce) -> Result<Option<Outcome>, ProduceError> {
        // A retry of a conditional append finds its own first attempt at the offset that it expects, so duplicates are
        // looked for first.
        if let Some(duplicate) = self.judge_producer(&produce.batch)? {
            return Ok(Some(duplicate));
        }
        match produce.expected_offset {
            Some(expected) if expected != self.replica.log().next_offset() => {
                let actual = self.replica.log().next_offset();
                Err(ProduceError::ExpectedOffsetMismatch { expected, actual })
            }
            _ => Ok(None),
        }
    }

    fn judge_producer(&self, batch: &Batch) -> Result<Option<Outcome>, ProduceError> {
        let Some((id, epoch, sequence)) = batch.producer() else { return Ok(None) };
        match self.replica.log().check_producer(id, epoch, sequence, batch.record_count()) {
            ProducerCheck::New => Ok(None),
            ProducerCheck::Duplicate { first_offset, next_offset, append_time, index } => {
                let produced = Produced {
                    first_offset: Some(first_offset),
                    next_offset: Some(next_offset),
                    append_time: Some(append_time),
                    duplicate: true,
                };
                Ok(Some(Outcome::Duplicate { of: index, produced }))
            }
            ProducerCheck::OutOfOrder { expected } => {
                Err(ProduceError::OutOfOrderSequence { id, expected, found: sequence })
            }
            ProducerCheck::Fenced { current_epoch } => {
                Err(ProduceError::Fenced { id, found: epoch, current: current_epoch })
            }
            ProducerCheck::UnknownProducer => Err(ProduceError::UnknownProducer { id }),
        }
    }

    fn append(&self, produce: Produce, answer: oneshot::Sender<Outcome>, room: OwnedSemaphorePermit) {
        let batch = produce.batch.with_base_offset(self.replica.log().next_offset());
        let entry = Entry::batch(self.replica.next_log_id(), self.append_time(), batch);
        let waiting = match produce.acks {
            Acks::Quorum | Acks::Leader => Some(answer),
            Acks::None => {
                drop(answer.send(Outcome::Done(Ok(Produced::UNKNOWN))));
                None
            }
        };
        self.replica.propose(entry, move |committed| {
            drop(room);
            match (waiting, committed) {
                (Some(answer), result) => drop(answer.send(Outcome::Done(result.map(Produced::appended)))),
                (None, Err(error)) => tracing::debug!(%error, "lost a batch that nobody waits for"),
                (None, Ok(_)) => {}
            }
        });
    }

    fn trim(&self, before: Offset, answer: oneshot::Sender<Result<Offset, ProduceError>>) {
        let progress = self.replica.progress();
        if before <= progress.log_start_offset {
            return drop(answer.send(Ok(self.replica.trim_to(progress.log_start_offset))));
        }
        // Only what is committed can be trimmed.
        let new_start = before.min(progress.high_watermark);
        let entry = Entry::trim(self.replica.next_log_id(), self.append_time(), new_start);
        let replica = self.replica.clone();
        // It takes effect with its commit, whether or not anybody still waits for it.
        self.replica.propose(entry, move |committed| {
            drop(answer.send(committed.map(|_| replica.trim_to(new_start))));
        });
    }

    /// The wall clock may jump back; append times do not.
    fn append_time(&self) -> Timestamp {
        Timestamp::new(self.clock.now_unix_ms()).max(self.replica.log().last_append_time())
    }
}

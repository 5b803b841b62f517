//! The one task that decides what enters the log of a partition with a single replica.
//!
//! It owns the log's end: conditions, duplicates and append times are judged here and nowhere else, in the order in which
//! batches arrive, entries that are not synced yet included. The sync itself is the writer's, which folds all that was
//! appended in the meantime into one.

use crate::judge::{Verdict, judge};
use crate::produce::Outcome;
use crate::replica::Replica;
use crate::{Acks, Produce, ProduceError, Produced};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use varve_env::WallClock;
use varve_record::{Offset, Timestamp};
use varve_storage::Entry;

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
        match judge(self.replica.log(), &produce) {
            Ok(Verdict::Append) => self.append(produce, answer, room),
            // Whoever does not wait for the answer any more does not need it.
            Ok(Verdict::Duplicate { of, produced }) => drop(answer.send(Outcome::Duplicate { of, produced })),
            Err(refusal) => drop(answer.send(Outcome::Done(Err(refusal)))),
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

//! What is proposed to a partition, and what becomes of it.

use crate::ProduceError;
use crate::committed::{Committed, Extent};
use tokio::sync::oneshot;
use varve_record::{Batch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use varve_telemetry::TraceContext;

/// When a produce is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Once it is committed: synced on a majority of the partition's replicas.
    #[default]
    Quorum,
    /// Once it is synced on the leader: a leader that fails may lose it.
    Leader,
    /// At once: nobody says whether it was appended, or where.
    None,
}

/// A batch to append.
#[derive(Clone, Debug)]
pub struct Produce {
    /// The batch; whoever took it from outside has validated it.
    pub batch: Batch,
    /// The offset that its first record must get, if it must.
    pub expected_offset: Option<Offset>,
    /// When it is acknowledged.
    pub acks: Acks,
    /// Where it belongs in a trace, if that is recorded.
    pub trace: Option<TraceContext>,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Its first record's offset; `None` with [`Acks::None`], where nobody waited to know.
    pub first_offset: Option<Offset>,
    /// The offset after its last record.
    pub next_offset: Option<Offset>,
    /// When it was appended, by the leader's clock, never earlier than what lies before it.
    pub append_time: Option<Timestamp>,
    /// Whether an earlier attempt had appended it.
    pub duplicate: bool,
}

impl Produced {
    /// The answer of [`Acks::None`].
    pub(crate) const UNKNOWN: Self =
        Self { first_offset: None, next_offset: None, append_time: None, duplicate: false };

    /// The answer to a batch that was appended now.
    pub(crate) fn appended(extent: Extent) -> Self {
        Self {
            first_offset: Some(extent.first),
            next_offset: Some(extent.next),
            append_time: Some(extent.append_time),
            duplicate: false,
        }
    }
}

/// What the proposer made of a batch.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is decided.
    Done(Result<Produced, ProduceError>),
    /// It is a duplicate of a batch that may not be committed yet.
    Duplicate { of: Original, produced: Produced },
}

/// A batch of an idempotent producer that lies in the log, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) sequence: Sequence,
    pub(crate) record_count: u32,
    pub(crate) first_offset: Offset,
    pub(crate) next_offset: Offset,
}

/// A batch on its way into the log: the proposer has it or will have it. To drop it takes nothing back.
#[derive(Debug)]
#[must_use = "the batch may still be refused"]
pub struct Pending {
    pub(crate) outcome: oneshot::Receiver<Outcome>,
    pub(crate) committed: Committed,
}

impl Pending {
    /// What became of it. There is no deadline here: whoever waits bounds the time, and no longer knows whether it was
    /// appended when that runs out.
    ///
    /// # Errors
    /// Why it was refused, or that nobody can say.
    pub async fn wait(mut self) -> Result<Produced, ProduceError> {
        match self.outcome.await {
            Ok(Outcome::Done(result)) => result,
            Ok(Outcome::Duplicate { of, produced }) => {
                self.committed.reached(&of).await?;
                Ok(produced)
            }
            // The proposer went away with the batch; the log may have taken it.
            Err(_) => Err(ProduceError::CommitUnknown),
        }
    }
}

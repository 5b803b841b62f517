//! What a proposer is asked to do.

use crate::committed::Extent;
use crate::metrics::InHand;
use crate::produce::Outcome;
use crate::{Produce, ProduceError, Produced};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use varve_record::Offset;

/// What the proposer is asked to do.
#[derive(Debug)]
pub(crate) enum Proposal {
    /// Append a batch.
    Produce {
        produce: Produce,
        answer: oneshot::Sender<Outcome>,
        /// Room in flight, given back when the batch is synced.
        room: OwnedSemaphorePermit,
        /// What is counted until it is answered.
        in_hand: Option<InHand>,
    },
    /// Move the start of the log.
    Trim { before: Offset, answer: oneshot::Sender<Result<Offset, ProduceError>> },
}

impl Proposal {
    /// Tells whoever waits, while the proposal goes on.
    pub(crate) fn answer_early(&mut self, result: Result<Produced, ProduceError>) {
        if let Self::Produce { answer, .. } = self {
            // Nobody hears the later answer.
            let waiting = std::mem::replace(answer, oneshot::channel().0);
            drop(waiting.send(Outcome::Done(result)));
        }
    }

    /// Tells whoever waits.
    pub(crate) fn answer(self, result: Result<Extent, ProduceError>) {
        match self {
            Self::Produce { answer, room, in_hand, .. } => {
                drop(room);
                if let Some(in_hand) = in_hand {
                    in_hand.answered(result.is_ok());
                }
                // Whoever does not wait any more does not need it.
                drop(answer.send(Outcome::Done(result.map(Produced::appended))));
            }
            Self::Trim { answer, .. } => drop(answer.send(result.map(|extent| extent.first))),
        }
    }
}

//! Whether a batch may enter the log.

use crate::produce::Original;
use crate::{Produce, ProduceError, Produced};
use varve_record::Batch;
use varve_storage::{EndState, ProducerCheck};

/// What is to be done with a batch.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may be appended.
    Append,
    /// It is there already, committed or not.
    Duplicate { of: Original, produced: Produced },
}

/// Whether the batch may be appended, is there already, or must be refused.
pub(crate) fn judge(end: &EndState, produce: &Produce) -> Result<Verdict, ProduceError> {
    // A retry of a conditional append finds its own first attempt at the offset that it expects, so duplicates are looked for
    // first.
    if let Some(duplicate) = judge_producer(end, &produce.batch)? {
        return Ok(duplicate);
    }
    match produce.expected_offset {
        Some(expected) if expected != end.next_offset => {
            Err(ProduceError::ExpectedOffsetMismatch { expected, actual: end.next_offset })
        }
        _ => Ok(Verdict::Append),
    }
}

fn judge_producer(end: &EndState, batch: &Batch) -> Result<Option<Verdict>, ProduceError> {
    let Some((id, epoch, sequence)) = batch.producer() else { return Ok(None) };
    let record_count = batch.record_count();
    match end.producers.check(id, epoch, sequence, record_count) {
        ProducerCheck::New => Ok(None),
        ProducerCheck::Duplicate { first_offset, next_offset, append_time, .. } => {
            let produced = Produced {
                first_offset: Some(first_offset),
                next_offset: Some(next_offset),
                append_time: Some(append_time),
                duplicate: true,
            };
            let of = Original { id, epoch, sequence, record_count, first_offset, next_offset };
            Ok(Some(Verdict::Duplicate { of, produced }))
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

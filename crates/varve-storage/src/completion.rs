//! Answers to those who wait for the disk.

use crate::log::Op;
use crate::{AppendDone, AppendError, LogDone, LogError, StopReason};

/// An answer that is ready to be given.
pub(crate) struct Completion {
    /// Where the operation stood in its writer's queue: answers are given in that order.
    pub(crate) arrival: u64,
    answer: Answer,
}

enum Answer {
    Append(AppendDone, Result<(), AppendError>),
    Log(LogDone, Result<(), LogError>),
}

impl Completion {
    pub(crate) fn append(arrival: u64, done: AppendDone, result: Result<(), AppendError>) -> Self {
        Self { arrival, answer: Answer::Append(done, result) }
    }

    pub(crate) fn log(arrival: u64, done: LogDone, result: Result<(), LogError>) -> Self {
        Self { arrival, answer: Answer::Log(done, result) }
    }

    /// Tells the one who waits.
    pub(crate) fn give(self) {
        match self.answer {
            Answer::Append(done, result) => done(result),
            Answer::Log(done, result) => done(result),
        }
    }
}

/// Answers for an operation that will never be done.
pub(crate) fn refuse(arrival: u64, op: Op, reason: &StopReason, completed: &mut Vec<Completion>) {
    match op {
        Op::Append { done: Some(done), .. } => {
            let error = AppendError::StorageStopped(reason.clone());
            completed.push(Completion::append(arrival, done, Err(error)));
        }
        Op::Roll { done: Some(done), .. } | Op::Truncate { done, .. } | Op::Reset { done, .. } => {
            let error = LogError::StorageStopped(reason.clone());
            completed.push(Completion::log(arrival, done, Err(error)));
        }
        Op::Append { .. }
        | Op::Roll { .. }
        | Op::Drop { .. }
        | Op::SaveIndex { .. }
        | Op::Idle
        | Op::Retry
        | Op::Close
        | Op::Abandon => {}
    }
}

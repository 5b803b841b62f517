//! What is known to be committed, and waiting for it.

use crate::produce::Original;
use crate::{ProduceError, Progress};
use tokio::sync::watch;
use varve_record::{Index, Offset, Term, Timestamp};
use varve_storage::{PartitionLog, ProducerCheck};

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

/// Where an entry's records lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) append_time: Timestamp,
}

//! How a replica's log is committed.

use crate::committed::{Committed, State};
use crate::raft::Group;
use crate::{GroupError, Progress};
use std::sync::Arc;
use tokio::sync::watch;
use varve_storage::PartitionLog;

/// One replica of a group, or one that keeps out of it.
#[derive(Clone, Debug)]
pub(crate) enum Lead {
    /// Nothing is committed any more: the log is damaged, and is read and nothing else.
    Idle {
        /// What is read.
        log: PartitionLog,
        /// What is known of it.
        state: watch::Sender<State>,
    },
    /// What consensus says.
    Group(Arc<Group>),
}

impl Lead {
    /// A replica that is read and nothing else.
    pub(crate) fn idle(log: PartitionLog, state: State) -> Self {
        Self::Idle { log, state: watch::Sender::new(state) }
    }

    pub(crate) fn log(&self) -> &PartitionLog {
        match self {
            Self::Idle { log, .. } => log,
            Self::Group(group) => group.log(),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        match self {
            Self::Idle { state, .. } => state.subscribe(),
            Self::Group(group) => group.state().subscribe(),
        }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        match self {
            Self::Idle { state, .. } => state.borrow().stopped,
            Self::Group(group) => group.has_stopped(),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        match self {
            Self::Idle { state, .. } => state.borrow().progress,
            Self::Group(group) => group.progress(),
        }
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed::new(self.watch(), self.log().clone())
    }

    pub(crate) fn group(&self) -> Result<&Arc<Group>, GroupError> {
        match self {
            Self::Idle { .. } => Err(GroupError::Idle),
            Self::Group(group) => Ok(group),
        }
    }
}

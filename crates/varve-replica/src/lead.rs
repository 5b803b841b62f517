//! How a replica's log is committed.

use crate::raft::Group;
use crate::replica::{Committed, Replica, State};
use crate::{GroupError, Progress};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use varve_storage::PartitionLog;

/// The only replica of its partition, or one of a group.
#[derive(Clone, Debug)]
pub(crate) enum Lead {
    /// What is durable here is committed.
    Alone(Replica),
    /// What consensus says.
    Group(Arc<Group>),
}

impl Lead {
    pub(crate) fn log(&self) -> &PartitionLog {
        match self {
            Self::Alone(replica) => replica.log(),
            Self::Group(group) => group.log(),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        match self {
            Self::Alone(replica) => replica.watch(),
            Self::Group(group) => group.state().subscribe(),
        }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        match self {
            Self::Alone(replica) => replica.has_stopped(),
            Self::Group(group) => group.has_stopped(),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        match self {
            Self::Alone(replica) => replica.progress(),
            Self::Group(group) => group.progress(),
        }
    }

    /// When another leader that is known now will be known no more if it says nothing.
    pub(crate) fn leader_known_until(&self) -> Option<Instant> {
        self.group().ok()?.leader_known_until()
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed::new(self.watch(), self.log().clone())
    }

    pub(crate) fn group(&self) -> Result<&Arc<Group>, GroupError> {
        match self {
            Self::Alone(_) => Err(GroupError::Alone),
            Self::Group(group) => Ok(group),
        }
    }
}

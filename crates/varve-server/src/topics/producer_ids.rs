//! Ids for producers without a name.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use varve_api::error::{ApiError, Reason};
use varve_controller::{Command, MetadataError, PRODUCER_IDS_BLOCK, ProducerIdentity, Response};
use varve_record::{ProducerEpoch, ProducerId};

use crate::cluster::ClusterView;
use crate::error::{command_error, metadata_error};

/// In whose name a producer's name is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) subject: Arc<str>,
    /// Whether it may be taken from whoever has it.
    pub(crate) take_over: bool,
    /// The caller has named the subject.
    pub(crate) is_given: bool,
}

/// A named producer that gets no identity.
#[derive(Debug)]
pub(crate) enum NamedError {
    /// The name belongs to another subject.
    Owned,
    /// Anything else.
    Failed(ApiError),
}

impl From<ApiError> for NamedError {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// Gives producers their identities: the named ones by the metadata, the others from a block of ids that the metadata
/// gave to this node. What is left of a block when the node stops is never used. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct ProducerIds {
    view: ClusterView,
    block: Arc<Mutex<Range<i64>>>,
}

impl ProducerIds {
    pub(crate) fn new(view: ClusterView) -> Self {
        Self { view, block: Arc::new(Mutex::new(0..0)) }
    }

    /// The next epoch of a named producer; in the name of a subject, if there is one.
    pub(crate) async fn named(
        &self,
        name: &str,
        claim: Option<&Claim>,
    ) -> Result<ProducerIdentity, NamedError> {
        let name = name.to_owned();
        let command = match claim {
            Some(Claim { subject, take_over, .. }) if self.view.all_know_owners() => {
                Command::ClaimProducer { name, subject: subject.to_string(), take_over: *take_over }
            }
            Some(Claim { is_given: true, .. }) => return Err(NamedError::Failed(owners_unknown())),
            _ => Command::InitProducer { name },
        };
        match self.view.metadata.propose(command).await.map_err(command_error)? {
            Ok(Response::Producer(identity)) => Ok(identity),
            Ok(_) => Err(unexpected().into()),
            Err(MetadataError::ProducerOwned { .. }) => Err(NamedError::Owned),
            Err(error) => Err(metadata_error(error).into()),
        }
    }

    /// A producer that nobody was before.
    pub(crate) async fn fresh(&self) -> Result<ProducerIdentity, ApiError> {
        let id = match self.take() {
            Some(id) => id,
            None => self.take_from_new_block().await?,
        };
        Ok(ProducerIdentity { id: ProducerId::new(id), epoch: ProducerEpoch::new(0) })
    }

    fn take(&self) -> Option<i64> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    async fn take_from_new_block(&self) -> Result<i64, ApiError> {
        let command = Command::AllocateProducerIds { count: PRODUCER_IDS_BLOCK };
        let first = match self.propose(command).await? {
            Response::ProducerIds(first) => first.get(),
            _ => return Err(unexpected()),
        };
        let rest = first + 1..first + i64::from(PRODUCER_IDS_BLOCK);
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have brought a block at the same time; the smaller rest is given up.
        if rest.end - rest.start > block.end - block.start {
            *block = rest;
        }
        Ok(first)
    }

    async fn propose(&self, command: Command) -> Result<Response, ApiError> {
        self.view.metadata.propose(command).await.map_err(command_error)?.map_err(metadata_error)
    }
}

/// Nothing was done: to begin a new life of the producer without its owner is not what was asked for.
fn owners_unknown() -> ApiError {
    ApiError::new(
        Reason::NoLeader,
        "not every node is known to know owners of producers' names: some run the version before, or were not heard of yet; try again once all do",
    )
}

fn unexpected() -> ApiError {
    ApiError::new(Reason::Internal, "the metadata answered what was not asked")
}

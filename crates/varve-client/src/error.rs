use std::sync::Arc;

use varve_api::InvalidTopicName;
use varve_api::error::{ApiError, Reason};
use varve_record::{BatchError, BuildError, Offset, PushError};

use crate::AddressError;

/// Why something did not work. Cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address names no cluster.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server refused, could not be reached, or did not answer; the reason says which.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// A record cannot be sent as it is.
    #[error("record was not taken")]
    Record(#[from] PushError),
    /// A batch could not be encoded.
    #[error("batch was not encoded")]
    Encode(#[source] Arc<BuildError>),
    /// The server sent a batch that is damaged.
    #[error("partition {partition}: a batch that was received is damaged; read it from another replica")]
    Damaged {
        /// The partition that was read.
        partition: u32,
        /// What is wrong with the batch.
        source: Arc<BatchError>,
    },
    /// The server left out records that it should have sent.
    #[error("partition {partition}: offset {found} came where {expected} was due; report this")]
    Gap {
        /// The partition that was read.
        partition: u32,
        /// The offset that was due.
        expected: Offset,
        /// The offset that came.
        found: Offset,
    },
    /// The producer was closed.
    #[error("producer is closed; make a new one")]
    Closed,
}

impl ClientError {
    /// The reason of `docs/errors.md`, where there is one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.api().map(|error| error.reason)
    }

    /// The error of the server or the transport, if it is one.
    #[must_use]
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the call may have had its effect although it failed.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.api().is_some_and(ApiError::may_have_happened)
    }
}

impl From<ApiError> for ClientError {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}

impl From<InvalidTopicName> for ClientError {
    fn from(error: InvalidTopicName) -> Self {
        ApiError::from(error).into()
    }
}

impl From<BuildError> for ClientError {
    fn from(error: BuildError) -> Self {
        Self::Encode(Arc::new(error))
    }
}

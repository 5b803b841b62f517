//! A node that is about to stop.

use tokio_util::sync::CancellationToken;
use varve_api::error::{ApiError, Reason};

/// Tells calls under way that the node is about to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(CancellationToken);

impl Drain {
    pub(crate) fn begin(&self) {
        self.0.cancel();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once it has begun.
    pub(crate) async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// What ends a call that will not be finished here.
    pub(crate) fn error() -> ApiError {
        ApiError::new(
            Reason::ShuttingDown,
            "this server is stopping: go on at another, or here when it is back",
        )
    }
}

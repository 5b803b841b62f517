//! What the double can be told to do.

use varve_api::error::ApiError;

/// What becomes of one produced batch. Without a fault it is appended and acknowledged.
#[derive(Debug, Clone)]
pub(crate) enum ProduceFault {
    /// Nothing.
    Pass,
    /// The stream breaks before the batch is appended.
    BreakBefore,
    /// The stream breaks after the batch was appended.
    BreakAfter,
    /// The batch is appended, and nothing is answered, now or later.
    Silence,
    /// The batch is refused in its place.
    Refuse(ApiError),
    /// The call fails with a status.
    Fail(ApiError),
    /// The batch is appended, and the server says that it will close.
    AdviseReconnect,
}

/// What becomes of one consume stream. Without a fault it goes on.
#[derive(Debug, Clone)]
pub(crate) enum ConsumeFault {
    /// The stream breaks after so many batches.
    BreakAfter(usize),
    /// The stream says nothing more and stays open, after so many batches.
    SilentAfter(usize),
    /// The stream ends as if all were answered, after so many batches.
    EndAfter(usize),
    /// The call fails with a status.
    Fail(ApiError),
    /// The stream leaves out a batch.
    LeaveOut,
    /// The stream sends a batch in which a bit is wrong.
    Damage,
    /// The server says that it will close, after so many batches.
    AdviseReconnectAfter(usize),
}

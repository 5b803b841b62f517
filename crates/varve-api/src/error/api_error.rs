use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Reason;

/// Longest message that an error carries, in bytes: it travels in a header, and headers are limited.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;

/// Why a call failed: a stable reason, a message for people, details for programs.
///
/// ```
/// use varve_api::error::{ApiError, Reason, meta};
///
/// let error = ApiError::new(Reason::OffsetTrimmed, "offset 3 was trimmed: the log starts at 10")
///     .with(meta::LOG_START_OFFSET, 10);
/// assert_eq!(error.number(meta::LOG_START_OFFSET), Some(10));
///
/// let status = tonic::Status::from(error.clone());
/// assert_eq!(ApiError::from_status(&status), error);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Stable reason.
    pub reason: Reason,
    /// What happened, to what, and what to do.
    pub message: String,
    /// Details, by the names in [`meta`](super::meta).
    pub metadata: BTreeMap<String, String>,
    /// How long to wait before a retry, if the server said so.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// An error without details. The message is cut at [`ERROR_MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX));
        Self { reason, message, metadata: BTreeMap::new(), retry_after: None }
    }

    /// Adds a detail; the value is cut at [`ERROR_MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        let mut value = value.to_string();
        value.truncate(value.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX));
        self.metadata.insert(key.into(), value);
        self
    }

    /// Says how long to wait before a retry.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// A detail, if it is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// A detail that is a number, if it is there and is one.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// Whether to send the same call again; `idempotent` says that it cannot have an effect twice.
    #[must_use]
    pub fn retryable(&self, idempotent: bool) -> bool {
        self.reason.retryable(idempotent)
    }

    /// Whether the call may have had its effect although it failed.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.reason.may_have_happened()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return write!(f, "{}", self.reason);
        }
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error =
            ApiError::new(Reason::Internal, "é".repeat(ERROR_MESSAGE_BYTES_MAX)).with("k", "ü".repeat(2000));
        assert_eq!(error.message.len(), ERROR_MESSAGE_BYTES_MAX);
        assert_eq!(error.metadata["k"].len(), ERROR_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn displays_message_and_reason() {
        let error = ApiError::new(Reason::NoLeader, "events/3 has no leader");
        assert_eq!(error.to_string(), "events/3 has no leader (NO_LEADER)");
        assert_eq!(ApiError::new(Reason::Internal, "").to_string(), "INTERNAL");
    }
}

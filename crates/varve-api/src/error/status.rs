//! Errors to and from a gRPC status, and to and from an error within a produce stream.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::Duration;

use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt};

use super::{ApiError, Reason, meta};
use crate::v1::ProduceError;

/// The domain of our reasons in `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "varve";

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let metadata: HashMap<String, String> = error.metadata.into_iter().collect();
        let mut details = ErrorDetails::with_error_info(error.reason.name(), ERROR_DOMAIN, metadata);
        if error.retry_after.is_some() {
            details.set_retry_info(error.retry_after);
        }
        Status::with_error_details(error.reason.code(), error.message, details)
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}

impl ApiError {
    /// Reads any status: ours by its reason, others (made by tonic, a proxy, or a newer server) by what is known of
    /// them, on the careful side about what may have happened.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        match details.error_info() {
            Some(info) if info.domain == ERROR_DOMAIN => {
                let metadata = info.metadata.clone().into_iter().collect();
                named(&info.reason, status.code(), status.message(), metadata, retry_after)
            }
            _ => Self { retry_after, ..Self::new(foreign(status), status.message()) },
        }
    }
}

impl From<ApiError> for ProduceError {
    fn from(error: ApiError) -> Self {
        Self {
            code: error.reason.code() as i32,
            reason: error.reason.name().into(),
            message: error.message,
            metadata: error.metadata.into_iter().collect(),
            retry_after: error.retry_after.and_then(|delay| delay.try_into().ok()),
        }
    }
}

impl From<ProduceError> for ApiError {
    fn from(error: ProduceError) -> Self {
        let metadata = error.metadata.into_iter().collect();
        let retry_after = error.retry_after.and_then(|delay| delay.try_into().ok());
        named(&error.reason, Code::from_i32(error.code), &error.message, metadata, retry_after)
    }
}

/// An error of our domain; a reason that we do not know is taken for what its code means.
fn named(
    name: &str,
    code: Code,
    message: &str,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
) -> ApiError {
    let known = name.parse::<Reason>();
    let mut error = ApiError::new(*known.as_ref().unwrap_or(&by_code(code)), message);
    error.metadata = metadata;
    error.retry_after = retry_after;
    match known {
        Ok(_) => error,
        Err(_) => error.with(meta::UNKNOWN_REASON, name),
    }
}

/// The reason of a status that carries none of ours. One with a source was made on this side: nothing on the wire sets
/// it.
fn foreign(status: &Status) -> Reason {
    match status.source() {
        Some(source) if has_cause::<ConnectError>(source) => Reason::Unreachable,
        Some(source) if has_cause::<TimeoutExpired>(source) => Reason::Deadline,
        Some(_) => Reason::ConnectionLost,
        // tonic refuses a message over the size limit with this, on either side.
        None if status.code() == Code::OutOfRange => Reason::BatchTooLarge,
        // tonic's server and client answer an expired `grpc-timeout` with this.
        None if status.code() == Code::Cancelled && status.message() == TimeoutExpired(()).to_string() => {
            Reason::Deadline
        }
        None => by_code(status.code()),
    }
}

fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<E>())
}

/// The reason nearest to a bare code. What could be a lost answer counts as one.
fn by_code(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Reason::InvalidRequest,
        Code::DeadlineExceeded => Reason::Deadline,
        Code::NotFound => Reason::TopicNotFound,
        Code::AlreadyExists => Reason::TopicExists,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::ResourceExhausted => Reason::Overloaded,
        Code::FailedPrecondition => Reason::InvalidRequest,
        Code::Aborted => Reason::CommitUnknown,
        Code::Unavailable => Reason::ConnectionLost,
        Code::DataLoss => Reason::DataLoss,
        Code::Unimplemented => Reason::Unimplemented,
        Code::Cancelled => Reason::Cancelled,
        Code::Ok | Code::Unknown | Code::Internal => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn full(reason: Reason) -> ApiError {
        let error = ApiError::new(reason, "what happened").retry_after(Duration::from_millis(1500));
        reason.metadata_keys().iter().fold(error, |error, key| error.with(key, 7))
    }

    #[test]
    fn every_reason_passes_through_a_status() {
        for reason in Reason::ALL {
            let status = Status::from(full(*reason));
            assert_eq!(status.code(), reason.code());
            assert_eq!(ApiError::from_status(&status), full(*reason));
        }
    }

    #[test]
    fn every_reason_passes_through_a_stream() {
        for reason in Reason::ALL {
            let error = ProduceError::from(full(*reason));
            assert_eq!(error.code, reason.code() as i32);
            assert_eq!(ApiError::from(error), full(*reason));
        }
    }

    #[test]
    fn errors_fit_into_headers_at_their_largest() {
        let long = "x".repeat(ERROR_BYTES_HUGE);
        for reason in Reason::ALL {
            let error = ApiError::new(*reason, &long);
            let error = reason.metadata_keys().iter().fold(error, |error, key| error.with(key, &long));
            let status = Status::from(error);
            let header_bytes = status.message().len() * 3 + status.details().len() * 4 / 3;
            assert!(header_bytes < HEADER_BYTES_MAX, "{reason}: {header_bytes}");
        }
    }

    #[test]
    fn unknown_reason_falls_back_on_the_code() {
        let details = ErrorDetails::with_error_info("FROM_THE_FUTURE", ERROR_DOMAIN, HashMap::new());
        let status = Status::with_error_details(Code::PermissionDenied, "no", details);
        let error = ApiError::from_status(&status);
        assert_eq!(error.reason, Reason::PermissionDenied);
        assert_eq!(error.get(meta::UNKNOWN_REASON), Some("FROM_THE_FUTURE"));
    }

    #[test]
    fn reasons_of_other_domains_are_not_ours() {
        let details = ErrorDetails::with_error_info("NOT_LEADER", "example.org", HashMap::new());
        let status = Status::with_error_details(Code::Internal, "no", details);
        assert_eq!(ApiError::from_status(&status).reason, Reason::Internal);
    }

    #[test]
    fn transport_failures_tell_whether_it_may_have_happened() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let refused = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert_eq!(ApiError::from_status(&refused).reason, Reason::Unreachable);

        let timeout = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(ApiError::from_status(&timeout).reason, Reason::Deadline);

        let mut broken = Status::unknown("transport error");
        broken.set_source(Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        assert_eq!(ApiError::from_status(&broken).reason, Reason::ConnectionLost);
    }

    #[test]
    fn oversized_message_is_not_an_offset_error() {
        let status = Status::out_of_range("decoded message length too large");
        assert_eq!(ApiError::from_status(&status).reason, Reason::BatchTooLarge);
    }

    #[test]
    fn garbage_details_are_ignored() {
        let status =
            Status::with_details(Code::NotFound, "no", bytes::Bytes::from_static(b"\xff\xffgarbage"));
        assert_eq!(ApiError::from_status(&status).reason, Reason::TopicNotFound);
    }

    const ERROR_BYTES_HUGE: usize = 100_000;
    /// What HTTP/2 implementations take by default.
    const HEADER_BYTES_MAX: usize = 16 * 1024;
}

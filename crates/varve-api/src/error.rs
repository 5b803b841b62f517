//! The error model: one list of stable reasons, and how each travels over gRPC.
//!
//! [`Reason`] is the list, [`ApiError`] one error, and [`meta`] the names of its details. `docs/errors.md` is the same
//! list for people; a test holds the two together. Branch on the reason, never on the gRPC code alone: tonic itself
//! answers `OUT_OF_RANGE` for a message over its size limit.

mod api_error;
pub mod meta;
mod reason;
mod status;

pub use api_error::{ApiError, ERROR_MESSAGE_BYTES_MAX};
pub use reason::{Reason, Retry, UnknownReason};
pub use status::ERROR_DOMAIN;

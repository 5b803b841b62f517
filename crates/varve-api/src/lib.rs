//! Varve's protocol: the protos, the code generated from them, and the error model.
//!
//! It must never know anything else of Varve: no storage, no transport, no policy. Start reading at
//! `proto/varve/v1/log.proto`, then [`error`].
//!
//! - [`v1`]: `varve.v1`, the service of Varve's own clients.
//! - [`log_v1`]: `log.v1`, the plain service of the book *Distributed Services with Go*.
//! - [`FILE_DESCRIPTOR_SET`]: both, for server reflection.

/// `varve.v1`: messages, clients and servers, generated from `proto/varve/v1`.
///
/// Fields of type `bytes` are [`bytes::Bytes`]: decoding does not copy them out of the message.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the protos carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("varve.v1");
}

/// `log.v1`: messages, clients and servers, generated from `proto/log/v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the protos carry the documentation"
)]
pub mod log_v1 {
    tonic::include_proto!("log.v1");
}

/// The compiled protos with their comments, as an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

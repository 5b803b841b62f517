//! Varve's protocol: the protos, the code generated from them, and the error model.
//!
//! It must never know anything else of Varve: no storage, no transport, no policy. Start reading at
//! `proto/varve/v1/log.proto`, then [`error`].
//!
//! - [`v1`]: `varve.v1`, the service of Varve's own clients.
//! - [`log_v1`]: `log.v1`, the plain service of the book *Distributed Services with Go*.
//! - [`FILE_DESCRIPTOR_SET`]: both, for server reflection.

mod ending;
pub mod error;
pub mod headers;
pub mod limits;
pub mod time;
mod topic_name;

pub use ending::telling_its_end;
pub use prost_types;
pub use topic_name::{InvalidTopicName, TOPIC_NAME_BYTES_MAX, TopicName};

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

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    #[test]
    fn descriptors_name_every_service() {
        let set = FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).expect("the build wrote it");
        let services = set.file.iter().flat_map(|file| {
            let names = file.service.iter().map(|service| service.name());
            names.map(|name| format!("{}.{name}", file.package()))
        });
        let mut services: Vec<String> = services.collect();
        services.sort();
        assert_eq!(
            services,
            ["log.v1.Log", "varve.v1.ClusterService", "varve.v1.DebugService", "varve.v1.LogService"]
        );
    }
}

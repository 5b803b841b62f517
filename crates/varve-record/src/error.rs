//! What can be wrong with the bytes of a batch.

use crate::Compression;

/// Why bytes are not a batch, or a batch is refused. None of it can be cured by a retry of the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than the header alone.
    #[error("batch is cut short: {found} bytes, but its header alone takes {needed}")]
    Short {
        /// The bytes that are there.
        found: usize,
        /// The bytes of a header.
        needed: usize,
    },
    /// The length field does not fit the bytes.
    #[error("batch length is wrong: {found} bytes, but the length field says {claimed}")]
    Length {
        /// The bytes that are there.
        found: usize,
        /// The whole batch's bytes by its length field.
        claimed: i64,
    },
    /// Another version of the format.
    #[error("batch has magic {found}: only magic 2 is supported, so use a client of Kafka 0.11 or newer")]
    Magic {
        /// The magic byte.
        found: i8,
    },
    /// The bytes are not those that were sent.
    #[error(
        "batch checksum is wrong: the field says {found:#010x}, its bytes give {computed:#010x}; send it again"
    )]
    Checksum {
        /// The checksum in the header.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A header field has a value that it can never have.
    #[error("batch {field} is {found}: it must be {expected}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// Its value.
        found: i64,
        /// What it must be.
        expected: &'static str,
    },
    /// A feature of Kafka that Varve does not have.
    #[error(
        "batch uses {feature} (attributes {attributes:#06x}), which is not supported; turn it off in the producer"
    )]
    Unsupported {
        /// The feature's name.
        feature: &'static str,
        /// The attributes field.
        attributes: u16,
    },
    /// A limit is passed.
    #[error("batch {field} is {found} or more: the limit is {limit}")]
    OverLimit {
        /// What is limited.
        field: &'static str,
        /// The value that was found when the check gave up: the true one may be greater.
        found: u64,
        /// The greatest value allowed.
        limit: u64,
    },
    /// The compressed bytes are not a stream of their codec, or more follows it.
    #[error(
        "batch does not decompress: its {compression} stream is damaged, unfinished or followed by other bytes"
    )]
    Decompress {
        /// The codec.
        compression: Compression,
    },
    /// A record does not parse.
    #[error("record {record} of the batch is malformed: {fault}")]
    Record {
        /// The record, counted from 0.
        record: u32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Bytes follow the last record.
    #[error("batch has {found} bytes after its last record: there must be none")]
    Trailing {
        /// How many.
        found: usize,
    },
}

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The length is missing, negative, or passes the batch's end.
    #[error("its length is missing, negative or beyond the end of the batch")]
    Length,
    /// The attributes byte is missing.
    #[error("its attributes are missing")]
    Attributes,
    /// The timestamp is missing or out of range.
    #[error("its timestamp delta is missing or out of range")]
    Timestamp,
    /// The offset delta is not the record's place in the batch.
    #[error("its offset delta is not its place in the batch")]
    OffsetDelta,
    /// The key's length is malformed or passes the record's end.
    #[error("its key is malformed or beyond the end of the record")]
    Key,
    /// The value's length is malformed or passes the record's end.
    #[error("its value is malformed or beyond the end of the record")]
    Value,
    /// The count of headers or a header is malformed or passes the record's end.
    #[error("its headers are malformed or beyond the end of the record")]
    Headers,
    /// A header's name is not UTF-8.
    #[error("the name of one of its headers is not utf-8")]
    HeaderName,
    /// Bytes follow the last header.
    #[error("bytes follow its last header")]
    Trailing,
}

//! The newtypes of a Varve log and the record batch codec.
//!
//! A record batch is the unit that is produced, stored, replicated and read. Its bytes are Kafka's record batch, magic 2
//! (`docs/record-batch.md` has the table). This crate turns records into such bytes and back, checks bytes that a client
//! sent, and names the numbers of the log (offset, index, term, ids) so that no two of them share a bare integer.
//!
//! It must never know I/O, time, threads or async code: everything here is a pure function of its arguments.
//!
//! Where to start: [`BatchBuilder`] makes a [`Batch`]; [`Batch::decode`] takes one from bytes; [`Batch::validate`] is the
//! deep check that is made once, where a client's bytes enter; [`Batch::records`] reads it. [`Limits`] bounds all of it.
//!
//! ```
//! use bytes::Bytes;
//! use varve_record::{Batch, BatchBuilder, Compression, HeaderRef, Limits, Offset, Timestamp};
//!
//! let mut builder = BatchBuilder::new(Compression::Zstd);
//! let headers = [HeaderRef { name: "trace", value: Some(b"7f") }];
//! builder.push(Timestamp::new(1_700_000_000_000), Some(b"key"), Some(b"value"), &headers)?;
//! let batch = builder.build()?.with_base_offset(Offset::new(42));
//!
//! let limits = Limits::default();
//! let received = Batch::decode(batch.into_bytes())?;
//! received.validate(&limits)?;
//! for record in received.records(&limits)?.iter() {
//!     let record = record?;
//!     assert_eq!((record.offset, record.value), (Offset::new(42), Some(&b"value"[..])));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod builder;
mod compression;
mod compressor;
mod decompressor;
mod error;
mod header;
mod ids;
mod index;
mod limits;
mod lz4;
mod offset;
mod record;
mod record_ref;
mod records;
mod sequence;
mod varint;
mod xerial;

pub use batch::Batch;
pub use builder::{BatchBuilder, BuildError, PushError};
pub use compression::{Compression, ParseCompressionError};
pub use decompressor::Decompressor;
pub use error::{BatchError, RecordFault};
pub use header::HEADER_BYTES;
pub use ids::{NodeId, PartitionId, ProducerEpoch, ProducerId, Term, Timestamp};
pub use index::Index;
pub use limits::{
    BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX, Limits, RATIO_EXEMPT_BYTES, RATIO_MAX, RECORD_BYTES_MAX,
    RECORDS_MAX,
};
pub use offset::Offset;
pub use record::{Header, Record};
pub use record_ref::{HeaderIter, HeaderRef, HeadersRef, RecordRef};
pub use records::{OwnedRecords, RecordIter, Records};
pub use sequence::Sequence;

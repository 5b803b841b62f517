//! Encodes records into batches.

use std::io;

use crate::compressor::Compressor;
use crate::header::{CRC_FROM, HEADER_BYTES, LENGTH_END, MAGIC, NO_PRODUCER, RawHeader};
use crate::{
    BATCH_BYTES_MAX, Batch, BatchError, Compression, HeaderRef, Limits, ProducerEpoch, ProducerId, Sequence,
    Timestamp, varint,
};

/// "None", in the header's partition leader epoch: Varve keeps terms in its frames.
const NO_EPOCH: i32 = -1;

/// Encodes records into a [`Batch`], and is used again for the next: its buffers and codec contexts are kept, so that a
/// record costs no allocation, and a batch the one that holds its bytes.
///
/// It keeps [`Limits`], so that what it builds is never refused by them: records and batch are bounded as they are
/// pushed (by their uncompressed size), and if compressing does not make a batch smaller, or makes it so small that the
/// ratio would be refused, the batch goes out uncompressed.
pub struct BatchBuilder {
    compression: Compression,
    compressor: Compressor,
    limits: Limits,
    producer: Option<(ProducerId, ProducerEpoch, Sequence)>,
    /// The records so far, encoded.
    records: Vec<u8>,
    compressed: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// Makes an empty builder with the default [`Limits`] and no producer.
    pub fn new(compression: Compression) -> Self {
        Self::with_limits(compression, Limits::default())
    }

    /// Makes an empty builder with no producer. A limit beyond [`BATCH_BYTES_MAX`] counts as that, which keeps the count
    /// below [`RECORDS_MAX`](crate::RECORDS_MAX) as well: few records take less than 9 bytes.
    pub fn with_limits(compression: Compression, mut limits: Limits) -> Self {
        limits.batch_bytes_max = limits.batch_bytes_max.min(BATCH_BYTES_MAX);
        Self {
            compression,
            compressor: Compressor::new(compression),
            limits,
            producer: None,
            records: Vec::new(),
            compressed: Vec::new(),
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Sets the idempotent producer of the batch and the sequence of its first record. It stays until set again; the
    /// caller moves the sequence on from batch to batch.
    pub fn producer(&mut self, id: ProducerId, epoch: ProducerEpoch, first: Sequence) -> &mut Self {
        self.producer = Some((id, epoch, first));
        self
    }

    /// Adds one record.
    ///
    /// # Errors
    /// If the record alone passes the limits, or the batch would with it. The builder is left as it was.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> Result<(), PushError> {
        let timestamp = timestamp.get();
        let base_timestamp = if self.count == 0 { timestamp } else { self.base_timestamp };
        let delta = timestamp.checked_sub(base_timestamp).ok_or(PushError::Timestamp)?;
        let body_bytes = self.admit(delta, key, value, headers)?;

        let out = &mut self.records;
        varint::write(out, body_bytes as i64);
        out.push(0);
        varint::write(out, delta);
        varint::write(out, self.count.into());
        write_bytes(out, key);
        write_bytes(out, value);
        varint::write(out, headers.len() as i64);
        for header in headers {
            write_bytes(out, Some(header.name.as_bytes()));
            write_bytes(out, header.value);
        }

        self.max_timestamp = if self.count == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        self.base_timestamp = base_timestamp;
        self.count += 1;
        Ok(())
    }

    /// Encodes the batch, at base offset 0, and empties the builder.
    ///
    /// # Errors
    /// If there is no record, the producer is not one, or the codec fails (out of memory). The records are then still
    /// there.
    pub fn build(&mut self) -> Result<Batch, BuildError> {
        if self.is_empty() {
            return Err(BuildError::Empty);
        }
        let compression = self.compress()?;
        let payload = if compression == Compression::None { &self.records } else { &self.compressed };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(&self.header(compression, payload.len()).write());
        bytes.extend_from_slice(payload);
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC_FROM - size_of::<u32>()..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        let batch = Batch::from_trusted(bytes.into())?;
        self.clear();
        Ok(batch)
    }

    /// Drops the records; buffers, codec and producer stay.
    pub fn clear(&mut self) {
        self.records.clear();
        self.count = 0;
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the batch so far, uncompressed, header included.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Holds the limits, and gives the bytes of the record's body.
    fn admit(
        &self,
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> Result<usize, PushError> {
        let header_bytes: usize = headers.iter().map(header_len).sum();
        let found = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + header_bytes;
        let limit = self.limits.record_bytes_max;
        if found > limit {
            return Err(PushError::RecordTooLarge { found, limit });
        }
        let body_bytes = 1
            + varint::encoded_len(timestamp_delta)
            + varint::encoded_len(self.count.into())
            + bytes_len(key)
            + bytes_len(value)
            + varint::encoded_len(headers.len() as i64)
            + header_bytes;
        let found = self.size_bytes() + varint::encoded_len(body_bytes as i64) + body_bytes;
        let limit = self.limits.batch_bytes_max.min(self.limits.decompressed_bytes_max);
        match (found > limit || self.count == self.limits.records_max, self.is_empty()) {
            (false, _) => Ok(body_bytes),
            (true, true) => Err(PushError::RecordTooLarge { found, limit }),
            (true, false) => Err(PushError::Full),
        }
    }

    /// Compresses the records if that is worth it, and gives the codec that the batch goes out with.
    fn compress(&mut self) -> Result<Compression, BuildError> {
        if self.compression == Compression::None {
            return Ok(Compression::None);
        }
        let compression = self.compression;
        let failed = |source| BuildError::Compress { compression, source };
        self.compressor.compress(&self.records, &mut self.compressed).map_err(failed)?;
        let is_smaller = self.compressed.len() < self.records.len();
        let is_readable = self.records.len() <= self.limits.decompressed_bytes_allowed(self.compressed.len());
        Ok(if is_smaller && is_readable { compression } else { Compression::None })
    }

    fn header(&self, compression: Compression, payload_bytes: usize) -> RawHeader {
        let none = (ProducerId::new(NO_PRODUCER), ProducerEpoch::new(-1), Sequence::new(-1));
        let (producer_id, producer_epoch, base_sequence) = self.producer.unwrap_or(none);
        RawHeader {
            base_offset: 0,
            batch_length: (HEADER_BYTES - LENGTH_END + payload_bytes) as i32,
            partition_leader_epoch: NO_EPOCH,
            magic: MAGIC,
            crc: 0,
            attributes: compression as u16,
            last_offset_delta: self.count as i32 - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer_id.get(),
            producer_epoch: producer_epoch.get(),
            base_sequence: base_sequence.get(),
            records_count: self.count as i32,
        }
    }
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("compression", &self.compression)
            .field("len", &self.len())
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

/// Why a record was not added to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The record passes the limits by itself: it can never be sent.
    #[error("record takes {found} bytes: the limit is {limit}, so split it")]
    RecordTooLarge {
        /// The record's bytes.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The batch has no room for it: build this batch, and push the record again.
    #[error("batch is full: build it, then push the record again")]
    Full,
    /// The record's timestamp is too far from the first one's.
    #[error("record timestamp is more than 2^63 ms from that of the batch's first record: correct it")]
    Timestamp,
}

/// Why a batch was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no record.
    #[error("batch has no record: push one first")]
    Empty,
    /// The codec failed.
    #[error("batch could not be compressed with {compression}; free memory or use another codec")]
    Compress {
        /// The codec.
        compression: Compression,
        /// What it said.
        source: io::Error,
    },
    /// The producer's id, epoch or sequence is negative.
    #[error("batch has a producer that cannot be")]
    Header(#[from] BatchError),
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(out, -1),
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::encoded_len(bytes.len() as i64) + bytes.len())
}

fn header_len(header: &HeaderRef<'_>) -> usize {
    bytes_len(Some(header.name.as_bytes())) + bytes_len(header.value)
}

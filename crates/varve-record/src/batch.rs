//! An encoded batch whose header is known to be sound.

use std::fmt;

use bytes::Bytes;

use crate::header::{CRC_FROM, HEADER_BYTES, LENGTH_END, MAGIC, NO_PRODUCER, RawHeader, attributes};
use crate::record_ref::RecordBase;
use crate::{
    BATCH_BYTES_MAX, BatchError, Compression, Decompressor, Limits, Offset, ProducerEpoch, ProducerId,
    RECORDS_MAX, RecordIter, Records, Sequence, Timestamp,
};

/// An encoded record batch: what is produced, stored, replicated and read.
///
/// Its header is sound (length, magic, counts, codec) and its checksum was right when it was made. Its records are not
/// looked at before [`Batch::validate`] or [`Batch::records`]. Clones share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
}

impl Batch {
    /// Takes `bytes` as one batch: exactly one, with a sound header and the right checksum.
    ///
    /// # Errors
    /// Whatever of that does not hold. A header is sound if the length field fits the bytes (at most
    /// [`BATCH_BYTES_MAX`]), the magic is 2, there are 1 to [`RECORDS_MAX`] records, the last offset delta is one less,
    /// no offset passes [`Offset::MAX`], the codec is known, and producer id, epoch and sequence are either all set and
    /// not negative, or the id is -1.
    pub fn decode(bytes: Bytes) -> Result<Self, BatchError> {
        let header = frame(&bytes)?;
        // Before the fields: if the bytes are damaged, say so rather than what nonsense they hold.
        let (found, computed) = (header.crc, crc32c::crc32c(&bytes[CRC_FROM..]));
        if found != computed {
            return Err(BatchError::Checksum { found, computed });
        }
        check_header(&header)?;
        Ok(Self { bytes })
    }

    /// As [`Batch::decode`], but without computing the checksum.
    ///
    /// Only for bytes that went through [`Batch::decode`] or [`BatchBuilder`](crate::BatchBuilder) before and whose own
    /// checksum, or one around it (a frame's), was verified since they last lay on a disk or came over a wire. The
    /// header is checked as ever, so wrong bytes cause errors later, never a panic.
    ///
    /// # Errors
    /// As [`Batch::decode`], without the checksum.
    pub fn from_trusted(bytes: Bytes) -> Result<Self, BatchError> {
        check_header(&frame(&bytes)?)?;
        Ok(Self { bytes })
    }

    /// The bytes of the batch that `bytes` begin with, or `None` if there are too few to tell. The batch itself may be
    /// longer than `bytes`.
    ///
    /// # Errors
    /// If the length field is less than a header or makes the batch pass [`BATCH_BYTES_MAX`].
    pub fn peek_len(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
        let Some(start) = bytes.first_chunk::<LENGTH_END>() else { return Ok(None) };
        let [.., a, b, c, d] = *start;
        let claimed = i64::from(i32::from_be_bytes([a, b, c, d])) + LENGTH_END as i64;
        match usize::try_from(claimed) {
            Ok(len) if len > BATCH_BYTES_MAX => {
                Err(over_limit("size in bytes", len as u64, BATCH_BYTES_MAX as u64))
            }
            Ok(len) if len >= HEADER_BYTES => Ok(Some(len)),
            _ => Err(BatchError::Length { found: bytes.len(), claimed }),
        }
    }

    /// The codec that the batch in `bytes` claims, or `None` if there are too few to tell or the codec is not known. Nothing
    /// else about them is checked.
    pub fn peek_compression(bytes: &[u8]) -> Option<Compression> {
        let attributes = bytes.get(CRC_FROM..)?.first_chunk::<2>()?;
        codec(u16::from_be_bytes(*attributes)).ok()
    }

    /// Takes the first batch off `bytes`, a concatenation of whole batches, or gives `None` if they are empty.
    ///
    /// # Errors
    /// As [`Batch::decode`]; `bytes` are then left as they were.
    pub fn split_first(bytes: &mut Bytes) -> Result<Option<Self>, BatchError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let short = BatchError::Short { found: bytes.len(), needed: HEADER_BYTES };
        let len = Self::peek_len(bytes)?.ok_or(short)?;
        if len > bytes.len() {
            return Err(BatchError::Length { found: bytes.len(), claimed: len as i64 });
        }
        let batch = Self::decode(bytes.slice(..len))?;
        *bytes = bytes.slice(len..);
        Ok(Some(batch))
    }

    /// The deep check of what a client sent, made once, where it enters. Decompresses the records if need be.
    ///
    /// It holds that the batch uses nothing that is not supported (transactions, control records, delete horizons,
    /// append times set by the client, unknown attribute bits); that it keeps `limits`; that every record parses, with
    /// offset deltas 0, 1, 2..., header names in UTF-8 and a timestamp that does not overflow; that there are as many
    /// as claimed and no bytes more; and that the max timestamp is the greatest of the records'.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn validate(&self, limits: &Limits) -> Result<(), BatchError> {
        self.validate_with(limits, &mut Decompressor::new())
    }

    /// As [`Batch::validate`], with contexts and a buffer kept from batch to batch.
    ///
    /// # Errors
    /// As [`Batch::validate`].
    pub fn validate_with(&self, limits: &Limits, decompressor: &mut Decompressor) -> Result<(), BatchError> {
        self.check_supported()?;
        self.check_size(limits)?;
        let payload = self.payload();
        if self.compression() == Compression::None {
            return self.check_records(payload, limits);
        }
        let bytes_max = limits.decompressed_bytes_allowed(payload.len());
        let check = |records: &[u8]| self.check_records(records, limits);
        decompressor.with_decompressed(self.compression(), payload, bytes_max, check)
    }

    /// The records, decompressed within `limits` (of which only the decompressed size and the ratio are held here). An
    /// uncompressed batch is not copied.
    ///
    /// # Errors
    /// If the records do not decompress or pass the limits. Malformed records show while iterating.
    pub fn records(&self, limits: &Limits) -> Result<Records, BatchError> {
        self.records_with(limits, &mut Decompressor::new())
    }

    /// As [`Batch::records`], with contexts kept from batch to batch.
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn records_with(
        &self,
        limits: &Limits,
        decompressor: &mut Decompressor,
    ) -> Result<Records, BatchError> {
        let encoded = match self.compression() {
            Compression::None => self.bytes.slice(HEADER_BYTES..),
            compression => {
                let payload = self.payload();
                let bytes_max = limits.decompressed_bytes_allowed(payload.len());
                let mut out = Vec::new();
                decompressor.decompress(compression, payload, bytes_max, &mut out)?;
                out.into()
            }
        };
        Ok(Records::new(encoded, self.record_base(), self.record_count()))
    }

    /// The batch with its first record at `offset`. The bytes are copied only if they are shared with someone else and
    /// the offset differs. The checksum does not cover the offset.
    ///
    /// # Panics
    /// If the last record would pass [`Offset::MAX`], which no log reaches.
    #[must_use]
    pub fn with_base_offset(self, offset: Offset) -> Self {
        if offset == self.base_offset() {
            return self;
        }
        let last = offset.checked_add(self.last_offset_delta().into());
        assert!(last.is_some(), "no log holds 2^63 records");
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| shared[..].into());
        bytes[..size_of::<u64>()].copy_from_slice(&offset.get().to_be_bytes());
        Self { bytes: bytes.freeze() }
    }

    /// The offset of the first record. A producer sends 0; the log stamps the true one.
    pub fn base_offset(&self) -> Offset {
        Offset::new(self.header().base_offset as u64)
    }

    /// How far the last record lies behind the first.
    pub fn last_offset_delta(&self) -> u32 {
        self.header().last_offset_delta as u32
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset() + self.last_offset_delta().into()
    }

    /// How many records there are, 1 to [`RECORDS_MAX`].
    pub fn record_count(&self) -> u32 {
        self.header().records_count as u32
    }

    /// The timestamp that those of the records are relative to: the first one's.
    pub fn base_timestamp(&self) -> Timestamp {
        Timestamp::new(self.header().base_timestamp)
    }

    /// The greatest timestamp of the records.
    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp::new(self.header().max_timestamp)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        codec(self.header().attributes).expect("the codec was known when the batch was made")
    }

    /// The idempotent producer that made it, its epoch, and the sequence of the first record; `None` if it is not
    /// idempotent.
    pub fn producer(&self) -> Option<(ProducerId, ProducerEpoch, Sequence)> {
        let header = self.header();
        let producer = (header.producer_id.into(), header.producer_epoch.into(), header.base_sequence.into());
        (header.producer_id != NO_PRODUCER).then_some(producer)
    }

    /// The checksum in the header: CRC-32C of everything from the attributes on. It stays the same when the batch is
    /// stamped with an offset.
    pub fn checksum(&self) -> u32 {
        self.header().crc
    }

    /// The bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The whole batch.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, without copying.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    fn header(&self) -> RawHeader {
        RawHeader::read(self.bytes.first_chunk().expect("a batch is never shorter than its header"))
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    fn record_base(&self) -> RecordBase {
        let header = self.header();
        let is_append_time = header.attributes & attributes::LOG_APPEND_TIME != 0;
        RecordBase {
            offset: self.base_offset(),
            timestamp: header.base_timestamp,
            append_timestamp: is_append_time.then_some(header.max_timestamp),
        }
    }

    fn check_supported(&self) -> Result<(), BatchError> {
        let attributes = self.header().attributes;
        let feature = match attributes & !attributes::COMPRESSION_MASK {
            0 => return Ok(()),
            bits if bits & attributes::CONTROL != 0 => "control records",
            bits if bits & attributes::TRANSACTIONAL != 0 => "transactions",
            bits if bits & attributes::DELETE_HORIZON != 0 => "a delete horizon",
            bits if bits & attributes::LOG_APPEND_TIME != 0 => "append times set by the producer",
            _ => "an unknown attribute bit",
        };
        Err(BatchError::Unsupported { feature, attributes })
    }

    fn check_size(&self, limits: &Limits) -> Result<(), BatchError> {
        let (size, count) = (self.size_bytes(), self.record_count());
        if size > limits.batch_bytes_max {
            return Err(over_limit("size in bytes", size as u64, limits.batch_bytes_max as u64));
        }
        if count > limits.records_max {
            return Err(over_limit("record count", count.into(), limits.records_max.into()));
        }
        Ok(())
    }

    fn check_records(&self, encoded: &[u8], limits: &Limits) -> Result<(), BatchError> {
        let mut max_timestamp = i64::MIN;
        for record in RecordIter::new(encoded, self.record_base(), self.record_count()) {
            let record = record?;
            let size = record.size_bytes();
            if size > limits.record_bytes_max {
                return Err(over_limit("record size in bytes", size as u64, limits.record_bytes_max as u64));
            }
            max_timestamp = max_timestamp.max(record.timestamp.get());
        }
        let found = self.max_timestamp().get();
        let wrong =
            BatchError::Field { field: "max timestamp", found, expected: "the greatest of its records'" };
        if found == max_timestamp { Ok(()) } else { Err(wrong) }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("base_offset", &self.base_offset())
            .field("record_count", &self.record_count())
            .field("size_bytes", &self.size_bytes())
            .field("compression", &self.compression())
            .field("producer", &self.producer())
            .finish_non_exhaustive()
    }
}

/// The header of exactly one batch of the version that is supported; its other fields are not looked at.
fn frame(bytes: &Bytes) -> Result<RawHeader, BatchError> {
    let found = bytes.len();
    let short = BatchError::Short { found, needed: HEADER_BYTES };
    let header = RawHeader::read(bytes.first_chunk().ok_or(short)?);
    let claimed = Batch::peek_len(bytes)?.ok_or(short)?;
    if claimed != found {
        return Err(BatchError::Length { found, claimed: claimed as i64 });
    }
    if header.magic != MAGIC {
        return Err(BatchError::Magic { found: header.magic });
    }
    Ok(header)
}

fn check_header(header: &RawHeader) -> Result<(), BatchError> {
    codec(header.attributes)?;
    check_counts(header)?;
    check_producer(header)
}

fn check_counts(header: &RawHeader) -> Result<(), BatchError> {
    let (count, delta) = (header.records_count, header.last_offset_delta);
    field("record count", count.into(), "1 or more", count >= 1)?;
    if count as u32 > RECORDS_MAX {
        return Err(over_limit("record count", count as u64, RECORDS_MAX.into()));
    }
    field("last offset delta", delta.into(), "one less than the record count", delta == count - 1)?;
    let base = header.base_offset;
    let in_range = base >= 0 && base.checked_add(delta.into()).is_some();
    field("base offset", base, "0 or more, with the last offset below 2^63", in_range)
}

fn check_producer(header: &RawHeader) -> Result<(), BatchError> {
    let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
    if id == NO_PRODUCER {
        return Ok(());
    }
    field("producer id", id, "0 or more, or -1 for none", id >= 0)?;
    field("producer epoch", epoch.into(), "0 or more, as it has a producer id", epoch >= 0)?;
    field("base sequence", sequence.into(), "0 or more, as it has a producer id", sequence >= 0)
}

fn field(field: &'static str, found: i64, expected: &'static str, holds: bool) -> Result<(), BatchError> {
    if holds { Ok(()) } else { Err(BatchError::Field { field, found, expected }) }
}

fn over_limit(field: &'static str, found: u64, limit: u64) -> BatchError {
    BatchError::OverLimit { field, found, limit }
}

fn codec(attributes: u16) -> Result<Compression, BatchError> {
    Compression::try_from((attributes & attributes::COMPRESSION_MASK) as u8)
}

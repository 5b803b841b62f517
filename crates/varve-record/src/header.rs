//! The fixed header of a batch: where each field lies, and nothing about what it means.

use bytes::{Buf, BufMut};

/// The bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;

/// The bytes up to the end of the length field: what is needed to know how long a batch is.
pub(crate) const LENGTH_END: usize = 12;

/// Where the checksummed bytes begin: the attributes.
pub(crate) const CRC_FROM: usize = 21;

/// The only version of the format that is supported.
pub(crate) const MAGIC: i8 = 2;

/// "None", in the producer fields.
pub(crate) const NO_PRODUCER: i64 = -1;

/// The header's fields as they lie in the bytes, big-endian, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawHeader {
    pub(crate) base_offset: i64,
    /// The bytes after this field.
    pub(crate) batch_length: i32,
    pub(crate) partition_leader_epoch: i32,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: u16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records_count: i32,
}

impl RawHeader {
    #[inline]
    pub(crate) fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut bytes = &bytes[..];
        Self {
            base_offset: bytes.get_i64(),
            batch_length: bytes.get_i32(),
            partition_leader_epoch: bytes.get_i32(),
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_u16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            records_count: bytes.get_i32(),
        }
    }

    pub(crate) fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_i64(self.base_offset);
        out.put_i32(self.batch_length);
        out.put_i32(self.partition_leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_u16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.records_count);
        bytes
    }
}

/// The meaning of the attributes' bits.
pub(crate) mod attributes {
    pub(crate) const COMPRESSION_MASK: u16 = 0x07;
    pub(crate) const LOG_APPEND_TIME: u16 = 1 << 3;
    pub(crate) const TRANSACTIONAL: u16 = 1 << 4;
    pub(crate) const CONTROL: u16 = 1 << 5;
    pub(crate) const DELETE_HORIZON: u16 = 1 << 6;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_fills_every_byte() {
        let bytes: [u8; HEADER_BYTES] = std::array::from_fn(|place| place as u8 + 1);
        assert_eq!(RawHeader::read(&bytes).write(), bytes);
    }
}

//! Makes the bytes of a batch by hand, right or wrong, with no help from the code under test.

use varve_record::Batch;

/// A batch whose every field can be set; by default those of a sound, empty-handed one.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) base_offset: i64,
    pub(crate) magic: i8,
    pub(crate) attributes: u16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
    pub(crate) payload: Vec<u8>,
}

impl Forge {
    /// `count` records, said to be encoded in `payload`.
    pub(crate) fn new(attributes: u16, count: i32, payload: &[u8]) -> Self {
        Self {
            base_offset: 0,
            magic: 2,
            attributes,
            last_offset_delta: count.wrapping_sub(1),
            base_timestamp: 1_000,
            max_timestamp: 1_000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count,
            payload: payload.to_vec(),
        }
    }

    /// One record without key, value and headers.
    pub(crate) fn one() -> Self {
        Self::new(0, 1, &[12, 0, 0, 0, 1, 1, 0])
    }

    /// The header of `batch`, around other bytes for its records.
    pub(crate) fn around(batch: &Batch, payload: &[u8]) -> Self {
        Self {
            base_timestamp: batch.base_timestamp().get(),
            max_timestamp: batch.max_timestamp().get(),
            ..Self::new(batch.compression() as u16, batch.record_count() as i32, payload)
        }
    }

    /// The bytes, with the right length and checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut summed = Vec::new();
        summed.extend(self.attributes.to_be_bytes());
        summed.extend(self.last_offset_delta.to_be_bytes());
        summed.extend(self.base_timestamp.to_be_bytes());
        summed.extend(self.max_timestamp.to_be_bytes());
        summed.extend(self.producer_id.to_be_bytes());
        summed.extend(self.producer_epoch.to_be_bytes());
        summed.extend(self.base_sequence.to_be_bytes());
        summed.extend(self.count.to_be_bytes());
        summed.extend(&self.payload);

        let mut bytes = Vec::new();
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend((summed.len() as i32 + 9).to_be_bytes());
        bytes.extend((-1i32).to_be_bytes());
        bytes.extend(self.magic.to_be_bytes());
        bytes.extend(crc32c_bitwise(&summed).to_be_bytes());
        bytes.extend(summed);
        bytes
    }
}

/// CRC-32C (RFC 3720, appendix B.4) bit by bit: the reflected Castagnoli polynomial.
pub(crate) fn crc32c_bitwise(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn the_checksum_is_castagnolis() {
    // The check value of the catalogue of CRCs, and the 32 zeros of RFC 3720.
    assert_eq!(crc32c_bitwise(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c_bitwise(&[0; 32]), 0x8a91_36aa);
}

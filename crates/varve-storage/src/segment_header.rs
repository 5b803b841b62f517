//! The first block of a segment's file.

use crate::LogId;
use bytes::{Buf, BufMut};
use varve_record::{Index, Offset, PartitionId, Term, Timestamp};

/// Bytes of a segment's header block.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
/// The version of the format that this code writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"VARVESEG";
/// Magic, version and checksum lie here in every version to come.
const CRC_AT: usize = 12;
const CHECKED_FROM: usize = 16;
const HAS_PREVIOUS: u32 = 1;
const RESET: u32 = 2;

/// What a segment says of itself. Written once, before the segment gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Random: salts every checksum behind this block.
    pub(crate) incarnation: u64,
    pub(crate) partition: PartitionId,
    /// Rises by one with every segment made in the log; the first has 1.
    pub(crate) sequence: u64,
    /// The sequence of the segment with the entry before the first; 0 where there is none.
    pub(crate) previous_sequence: u64,
    /// Where the entries of that segment end.
    pub(crate) previous_end: u64,
    pub(crate) first_index: Index,
    /// The entry before the first.
    pub(crate) previous: Option<LogId>,
    /// The log was begun anew here: nothing before belongs to it.
    pub(crate) reset: bool,
    /// The offset that the first record has or gets.
    pub(crate) base_offset: Offset,
    /// The greatest append time of any entry before.
    pub(crate) last_append_time: Timestamp,
    /// Where the first entry's frame begins, behind the checkpoint.
    pub(crate) first_position: u64,
}

/// Why a block is not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentHeaderFault {
    Damaged(&'static str),
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let mut out = &mut bytes[..];
        let flags =
            if self.previous.is_some() { HAS_PREVIOUS } else { 0 } | if self.reset { RESET } else { 0 };
        let previous = self.previous.unwrap_or_default();
        out.put_slice(MAGIC);
        out.put_u32_le(FORMAT_VERSION);
        out.put_u32_le(0);
        out.put_u64_le(self.incarnation);
        out.put_u64_le(self.partition.get());
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.previous_sequence);
        out.put_u64_le(self.previous_end);
        out.put_u64_le(self.first_index.get());
        out.put_u32_le(flags);
        out.put_u32_le(0);
        out.put_u64_le(previous.term.get());
        out.put_u64_le(previous.index.get());
        out.put_u64_le(self.base_offset.get());
        out.put_i64_le(self.last_append_time.get());
        out.put_u64_le(self.first_position);
        let crc = checksum(&bytes);
        bytes[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, SegmentHeaderFault> {
        let mut fields = &bytes[MAGIC.len()..];
        if &bytes[..MAGIC.len()] != MAGIC {
            return Err(SegmentHeaderFault::Damaged("the segment's header is missing"));
        }
        let version = fields.get_u32_le();
        if fields.get_u32_le() != checksum(bytes) {
            return Err(SegmentHeaderFault::Damaged("the checksum of the segment's header is wrong"));
        }
        if version != FORMAT_VERSION {
            return Err(SegmentHeaderFault::Newer(version));
        }
        let incarnation = fields.get_u64_le();
        let partition = PartitionId::new(fields.get_u64_le());
        let (sequence, previous_sequence, previous_end) =
            (fields.get_u64_le(), fields.get_u64_le(), fields.get_u64_le());
        let first_index = Index::new(fields.get_u64_le());
        let flags = fields.get_u32_le();
        let _reserved = fields.get_u32_le();
        let previous = LogId::new(Term::new(fields.get_u64_le()), Index::new(fields.get_u64_le()));
        Ok(Self {
            incarnation,
            partition,
            sequence,
            previous_sequence,
            previous_end,
            first_index,
            previous: (flags & HAS_PREVIOUS != 0).then_some(previous),
            reset: flags & RESET != 0,
            base_offset: Offset::new(fields.get_u64_le()),
            last_append_time: Timestamp::new(fields.get_i64_le()),
            first_position: fields.get_u64_le(),
        })
    }
}

/// Covers the whole block but the checksum itself.
fn checksum(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[CHECKED_FROM..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            incarnation: 0xDEAD_BEEF,
            partition: PartitionId::new(1),
            sequence: 2,
            previous_sequence: 1,
            previous_end: 8192,
            first_index: Index::new(4),
            previous: Some(LogId::new(Term::new(5), Index::new(3))),
            reset: true,
            base_offset: Offset::new(6),
            last_append_time: Timestamp::new(7),
            first_position: 4168,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
        let first = SegmentHeader { previous: None, reset: false, ..header() };
        assert_eq!(SegmentHeader::decode(&first.encode()), Ok(first));
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let good = header().encode();
        for place in 0..good.len() {
            let mut bad = good;
            bad[place] ^= 0x10;
            let fault = SegmentHeader::decode(&bad).unwrap_err();
            assert!(matches!(fault, SegmentHeaderFault::Damaged(_)), "byte {place}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        let crc = checksum(&bytes);
        bytes[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(SegmentHeaderFault::Newer(9)));
    }
}

//! The frame: how one entry lies in a file.
//!
//! A frame is a header of [`FRAME_HEADER_BYTES`], then its body, filled up with zeros to a multiple of [`FRAME_ALIGN`]. Both
//! have a CRC-32C of their own, salted with the segment's incarnation, so that what an earlier use left in a reused file never
//! passes for a frame of this one.

use crate::EntryKind;
use bytes::{Buf, BufMut};
use varve_record::{Index, Offset, Term, Timestamp};

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN: u64 = 8;
/// The most bytes of any frame's body: an entry's ([`BODY_BYTES_MAX`](crate::BODY_BYTES_MAX)), or a checkpoint with a full
/// table of producers and a membership.
pub(crate) const FRAME_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What every frame begins with: "VRVF".
pub(crate) const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"VRVF");

/// Where the checksummed part of a header begins: behind the magic and the checksum itself.
const CHECKED_FROM: usize = 8;
const PADDING: [u8; FRAME_ALIGN as usize] = [0; FRAME_ALIGN as usize];

/// What a frame is. The discriminants of entries are those of [`EntryKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Entry(EntryKind),
    /// The state before a segment's first entry; only at its head.
    Checkpoint,
    /// "All up to here was durable when I was written"; only at the tail, overwritten by the next entry.
    Marker,
    /// Votes; only in the vote file.
    Votes,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            Self::Entry(kind) => kind as u8,
            Self::Checkpoint => 6,
            Self::Marker => 7,
            Self::Votes => 8,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Entry(EntryKind::Blank),
            2 => Self::Entry(EntryKind::Batch),
            3 => Self::Entry(EntryKind::Membership),
            4 => Self::Entry(EntryKind::Command),
            5 => Self::Entry(EntryKind::Trim),
            6 => Self::Checkpoint,
            7 => Self::Marker,
            8 => Self::Votes,
            _ => return None,
        })
    }
}

/// The seed of all checksums of one incarnation of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self(crc32c::crc32c(&incarnation.to_le_bytes()))
    }

    /// The checksum of a body and the zeros that fill it up.
    pub(crate) fn body_crc(self, body: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, body), padding(body.len()))
    }

    fn header_crc(self, header: &[u8; FRAME_HEADER_BYTES]) -> u32 {
        crc32c::crc32c_append(self.0, &header[CHECKED_FROM..])
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) record_count: u32,
    pub(crate) term: Term,
    pub(crate) index: Index,
    pub(crate) append_time: Timestamp,
    pub(crate) base_offset: Offset,
    /// Every entry below this index was durable when the frame was written.
    pub(crate) durable_below: Index,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// They do not begin with the magic: nothing was written there, or it was overwritten.
    NoMagic,
    /// The header's checksum is wrong, or it was written by another incarnation.
    HeaderChecksum,
    /// The body's checksum is wrong.
    BodyChecksum,
    /// The file ends inside the frame.
    CutShort,
    /// The checksum is right and the content is not what this version writes.
    UnknownKind(u8),
    /// The checksum is right and a field has a value that is never written.
    Field,
    /// A sound frame, but not the one that belongs here.
    OutOfPlace,
}

impl FrameFault {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoMagic => "no frame begins here",
            Self::HeaderChecksum => "the checksum of a frame's header is wrong",
            Self::BodyChecksum => "the checksum of a frame's body is wrong",
            Self::CutShort => "the file ends inside a frame",
            Self::UnknownKind(_) => "a frame has a kind that this version does not know",
            Self::Field => "a frame's header has an impossible value",
            Self::OutOfPlace => "a frame is not the one that belongs here",
        }
    }
}

impl FrameHeader {
    /// The frame's bytes in the file: header, body, padding.
    pub(crate) fn frame_len(&self) -> u64 {
        frame_len(self.body_len as usize)
    }

    /// The offset after the frame's last record.
    pub(crate) fn next_offset(&self) -> Offset {
        // `decode` refuses what would pass the greatest offset.
        self.base_offset + u64::from(self.record_count)
    }

    pub(crate) fn encode(&self, salt: Salt) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_u32_le(FRAME_MAGIC);
        out.put_u32_le(0);
        out.put_u32_le(self.body_len);
        out.put_u32_le(self.body_crc);
        out.put_u8(self.kind.code());
        out.put_u8(0);
        out.put_u16_le(0);
        out.put_u32_le(self.record_count);
        out.put_u64_le(self.term.get());
        out.put_u64_le(self.index.get());
        out.put_i64_le(self.append_time.get());
        out.put_u64_le(self.base_offset.get());
        out.put_u64_le(self.durable_below.get());
        let crc = salt.header_crc(&bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES], salt: Salt) -> Result<Self, FrameFault> {
        let mut fields = &bytes[..];
        if fields.get_u32_le() != FRAME_MAGIC {
            return Err(FrameFault::NoMagic);
        }
        if fields.get_u32_le() != salt.header_crc(bytes) {
            return Err(FrameFault::HeaderChecksum);
        }
        let (body_len, body_crc) = (fields.get_u32_le(), fields.get_u32_le());
        let (code, flags, reserved) = (fields.get_u8(), fields.get_u8(), fields.get_u16_le());
        let kind = FrameKind::from_code(code).ok_or(FrameFault::UnknownKind(code))?;
        let header = Self {
            kind,
            body_len,
            body_crc,
            record_count: fields.get_u32_le(),
            term: Term::new(fields.get_u64_le()),
            index: Index::new(fields.get_u64_le()),
            append_time: Timestamp::new(fields.get_i64_le()),
            base_offset: Offset::new(fields.get_u64_le()),
            durable_below: Index::new(fields.get_u64_le()),
        };
        let sane = flags == 0
            && reserved == 0
            && body_len as usize <= FRAME_BODY_BYTES_MAX
            && header.index.get() < u64::MAX
            && header.base_offset.checked_add(u64::from(header.record_count)).is_some();
        if sane { Ok(header) } else { Err(FrameFault::Field) }
    }

    /// Whether `body` is what the header was written for.
    pub(crate) fn matches(&self, body: &[u8], salt: Salt) -> bool {
        body.len() == self.body_len as usize && salt.body_crc(body) == self.body_crc
    }
}

/// The bytes in the file of a frame whose body has `body_len` bytes.
pub(crate) fn frame_len(body_len: usize) -> u64 {
    (FRAME_HEADER_BYTES + body_len + padding(body_len).len()) as u64
}

/// The zeros behind a body of `body_len` bytes.
pub(crate) fn padding(body_len: usize) -> &'static [u8] {
    let align = FRAME_ALIGN as usize;
    &PADDING[..(align - body_len % align) % align]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Entry(EntryKind::Batch),
            body_len: 13,
            body_crc: 99,
            record_count: 3,
            term: Term::new(4),
            index: Index::new(5),
            append_time: Timestamp::new(-6),
            base_offset: Offset::new(7),
            durable_below: Index::new(2),
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let salt = Salt::new(1);
        assert_eq!(FrameHeader::decode(&header().encode(salt), salt), Ok(header()));
        assert_eq!(header().frame_len(), 64 + 16);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let salt = Salt::new(1);
        let good = header().encode(salt);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&bad, salt).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_incarnation_is_never_taken() {
        let bytes = header().encode(Salt::new(1));
        assert_eq!(FrameHeader::decode(&bytes, Salt::new(2)), Err(FrameFault::HeaderChecksum));
    }

    #[test]
    fn a_newer_kind_is_told_from_damage() {
        let salt = Salt::new(1);
        let mut bytes = header().encode(salt);
        bytes[16] = 200;
        let crc = salt.header_crc(&bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FrameHeader::decode(&bytes, salt), Err(FrameFault::UnknownKind(200)));
    }

    #[test]
    fn padding_fills_up() {
        assert_eq!((0..9).map(|n| padding(n).len()).collect::<Vec<_>>(), [0, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_ne!(Salt::new(1).body_crc(b"abc"), Salt::new(2).body_crc(b"abc"));
    }
}

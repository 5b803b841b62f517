//! One group of entries, made ready for one write.

use crate::Entry;
use crate::frame::{FrameHeader, FrameKind, Salt, padding};
use bytes::Bytes;
use std::io::IoSlice;
use std::ops::Range;
use varve_record::Index;

/// Bodies up to this are copied beside their headers: fewer, larger slices. Longer ones are written from where they are.
const COPIED_BODY_BYTES_MAX: usize = 8 * 1024;
/// What is kept of the buffer from group to group.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Zeros to write ahead of the tail.
static ZEROS: [u8; ZERO_BYTES_MAX] = [0; ZERO_BYTES_MAX];
/// The most zeros in one write.
pub(crate) const ZERO_BYTES_MAX: usize = 1024 * 1024 + 4096;

/// Frames in the order in which they lie in the file.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    copied: Vec<u8>,
    pieces: Vec<Piece>,
    len_bytes: u64,
}

#[derive(Debug)]
enum Piece {
    Copied(Range<usize>),
    Body(Bytes),
}

impl WriteBuffer {
    /// Bytes of all frames.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Adds an entry's frame: computes its checksums.
    pub(crate) fn push(&mut self, entry: &Entry, durable_below: Index, salt: Salt) {
        let body = &entry.body;
        let header = FrameHeader {
            kind: FrameKind::Entry(entry.kind),
            body_len: u32::try_from(body.len()).expect("append refuses bodies that are too large"),
            body_crc: salt.body_crc(body),
            record_count: entry.record_count,
            term: entry.log_id.term,
            index: entry.log_id.index,
            append_time: entry.append_time,
            base_offset: entry.base_offset,
            durable_below,
        };
        self.copy(&header.encode(salt));
        if body.len() <= COPIED_BODY_BYTES_MAX {
            self.copy(body);
        } else {
            self.pieces.push(Piece::Body(body.clone()));
        }
        self.copy(padding(body.len()));
        self.len_bytes += header.frame_len();
    }

    /// The slices to write, with so many zeros behind the frames.
    pub(crate) fn slices(&self, zeros: usize) -> Vec<IoSlice<'_>> {
        let frames = self.pieces.iter().map(|piece| match piece {
            Piece::Copied(range) => IoSlice::new(&self.copied[range.clone()]),
            Piece::Body(body) => IoSlice::new(body),
        });
        let zeros = (zeros > 0).then(|| IoSlice::new(&ZEROS[..zeros.min(ZERO_BYTES_MAX)]));
        frames.chain(zeros).collect()
    }

    /// Forgets the frames and keeps some of the memory.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.copied.shrink_to(KEPT_BYTES_MAX);
        self.pieces.clear();
        self.len_bytes = 0;
    }

    fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some(Piece::Copied(range)) => range.end = self.copied.len(),
            _ if bytes.is_empty() => {}
            _ => self.pieces.push(Piece::Copied(start..self.copied.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogId;
    use crate::frame::{FRAME_HEADER_BYTES, frame_len};
    use varve_record::{Term, Timestamp};

    #[test]
    fn frames_lie_one_behind_the_other() {
        let salt = Salt::new(5);
        let mut buffer = WriteBuffer::default();
        let sizes = [0, 13, COPIED_BODY_BYTES_MAX + 1, 8, 100_000];
        for (index, size) in (1..).zip(sizes) {
            let log_id = LogId::new(Term::new(1), Index::new(index));
            let entry = Entry::command(log_id, Timestamp::new(0), Bytes::from(vec![index as u8; size]));
            buffer.push(&entry, Index::new(1), salt);
        }
        let bytes: Vec<u8> = buffer.slices(24).iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(bytes.len() as u64, buffer.len_bytes() + 24);
        let mut at = 0;
        for (index, size) in (1..).zip(sizes) {
            let head = bytes[at..at + FRAME_HEADER_BYTES].try_into().unwrap();
            let header = FrameHeader::decode(head, salt).unwrap();
            assert_eq!(header.index, Index::new(index));
            let body = &bytes[at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + size];
            assert!(header.matches(body, salt));
            at += frame_len(size) as usize;
        }
        // Copied pieces that touch are one slice.
        assert_eq!(buffer.slices(0).len(), 4);
    }
}

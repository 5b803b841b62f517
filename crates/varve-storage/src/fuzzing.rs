//! What the fuzz targets call: every decoder of bytes at rest, with the checksums made right that no fuzzer can guess.

use crate::checkpoint;
use crate::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, Salt, frame_len};
use crate::scan::{Expected, scan};
use crate::segment_file::Tail;
use crate::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::sparse_index::SparseIndex;
use crate::window::Window;
use bytes::Bytes;
use std::io::IoSlice;
use std::path::Path;
use varve_env::disk::{Disk, DiskFile, FaultyDisk, OpenMode};
use varve_record::{Index, Offset, Term};

const SALT: u64 = 7;

/// Reads `data` as the frames of a segment, as they are and with right checksums.
///
/// # Panics
/// Where a decoder gives what it must not: that is what the fuzzer looks for.
pub fn frames(data: &[u8]) {
    scan_frames(data);
    scan_frames(&with_checksums(data));
}

/// Reads `data` as a checkpoint, an index, the checkpoint of a clean stop, and a segment's header.
///
/// # Panics
/// Where a decoder takes what it would not have written.
pub fn checkpoints(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Some(state) = checkpoint::decode(bytes.clone()) {
        let mut out = Vec::new();
        checkpoint::encode(&state, &mut out);
        assert_eq!(checkpoint::decode(out.into()), Some(state));
    }
    if let Some(index) = SparseIndex::decode(&mut bytes.clone()) {
        let mut out = Vec::new();
        index.encode(&mut out);
        assert_eq!(out, data[..out.len()]);
    }
    drop(Tail::decode(bytes));
    let mut block = [0; SEGMENT_HEADER_BYTES];
    let len = data.len().min(block.len());
    block[..len].copy_from_slice(&data[..len]);
    if let Ok(header) = SegmentHeader::decode(&block) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

fn scan_frames(data: &[u8]) {
    let disk = FaultyDisk::new(1);
    let Ok(file) = disk.open(Path::new("f"), OpenMode::CreateNew) else { return };
    if file.write_all_at(&mut [IoSlice::new(data)], 0).is_err() {
        return;
    }
    let file: &dyn DiskFile = &*file;
    let mut window = Window::new(file, data.len() as u64).with_read_ahead(256);
    let expected = Expected { index: Index::new(0), term: Term::new(0), base_offset: Offset::new(0) };
    let mut last: Option<(Index, u64)> = None;
    let mut visit = |frame: &FrameHeader, position: u64, body: &Bytes| {
        assert!(frame.matches(body, Salt::new(SALT)));
        assert!(last.is_none_or(|(index, end)| frame.index > index && position >= end));
        last = Some((frame.index, position + frame.frame_len()));
    };
    if let Ok(scanned) = scan(&mut window, Salt::new(SALT), 0, expected, &mut visit) {
        assert!(scanned.end <= data.len() as u64);
        assert!(last.is_none_or(|(_, end)| end <= scanned.end));
    }
}

/// The same bytes with the magic and both checksums of each frame set, frame behind frame by their lengths.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let seed = crc32c::crc32c(&SALT.to_le_bytes());
    let mut at = 0;
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        // Short bodies, so that a small input holds several frames.
        let body_len = usize::from(bytes[at + 8]);
        bytes[at + 8..at + 12].copy_from_slice(&(body_len as u32).to_le_bytes());
        let end = at + frame_len(body_len) as usize;
        if end > bytes.len() {
            break;
        }
        bytes[at + FRAME_HEADER_BYTES + body_len..end].fill(0);
        tame(&mut bytes[at..at + FRAME_HEADER_BYTES]);
        let body_crc = Salt::new(SALT).body_crc(&bytes[at + FRAME_HEADER_BYTES..][..body_len]);
        bytes[at..at + 4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&body_crc.to_le_bytes());
        let header_crc = crc32c::crc32c_append(seed, &bytes[at + 8..at + FRAME_HEADER_BYTES]);
        bytes[at + 4..at + 8].copy_from_slice(&header_crc.to_le_bytes());
        at = end;
        debug_assert_eq!(at as u64 % FRAME_ALIGN, 0);
    }
    bytes
}

/// Keeps a header's fields near what a log holds, so that frames follow each other now and then.
fn tame(header: &mut [u8]) {
    header[16] %= 9;
    header[17..20].fill(0);
    header[20] %= 3;
    header[21..24].fill(0);
    for field in [24, 32, 48, 56] {
        header[field] %= 4;
        header[field + 1..field + 8].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_at_rest_cause_a_panic(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            frames(&data);
            checkpoints(&data);
        }

        #[test]
        fn no_row_of_small_frames_causes_a_panic(data in prop::collection::vec(0u8..12, 0..2000)) {
            frames(&data);
            checkpoints(&data);
        }
    }
}

//! The LZ4 frame format, read as strictly as the other codecs.
//!
//! The decoder takes a frame that is cut at a block's end for a whole one, and reads the legacy format too. A reader that
//! asks for more would stumble over such a batch later, so the frame's outline is walked first.

use bytes::Buf;
use lz4_flex::frame::FrameDecoder;

use crate::decompressor::{Failure, nothing_left, read_to_end};

/// How a frame begins.
const MAGIC: u32 = 0x184d_2204;

/// The flags of a frame that add fields to it.
mod flags {
    pub(super) const DICTIONARY_ID: u8 = 1;
    pub(super) const CONTENT_CHECKSUM: u8 = 1 << 2;
    pub(super) const CONTENT_SIZE: u8 = 1 << 3;
    pub(super) const BLOCK_CHECKSUMS: u8 = 1 << 4;
}

const CHECKSUM_BYTES: usize = 4;

/// The bit of a block's size that says that the block is not compressed.
const UNCOMPRESSED: u32 = 1 << 31;

/// Appends what `input`, exactly one frame, holds to `out`, which never grows beyond `bytes_max`.
pub(crate) fn decompress(input: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if after_frame(input) != Some(&[]) {
        return Err(Failure::Damaged);
    }
    let mut decoder = FrameDecoder::new(input);
    read_to_end(&mut decoder, bytes_max, out)?;
    nothing_left(decoder.get_ref())
}

/// What follows the frame that `input` begins with, or `None` if it does not begin with a whole one.
fn after_frame(mut input: &[u8]) -> Option<&[u8]> {
    let magic = input.try_get_u32_le().ok()?;
    let flags = input.try_get_u8().ok()?;
    let bytes_if = |flag, bytes| if flags & flag != 0 { bytes } else { 0 };
    // The rest of the header: block size, content size, dictionary id, the header's own checksum.
    let header_bytes = 1 + bytes_if(flags::CONTENT_SIZE, 8) + bytes_if(flags::DICTIONARY_ID, 4) + 1;
    input = input.get(header_bytes..)?;
    while let size @ 1.. = input.try_get_u32_le().ok()? {
        let block_bytes = (size & !UNCOMPRESSED) as usize + bytes_if(flags::BLOCK_CHECKSUMS, CHECKSUM_BYTES);
        input = input.get(block_bytes..)?;
    }
    input = input.get(bytes_if(flags::CONTENT_CHECKSUM, CHECKSUM_BYTES)..)?;
    (magic == MAGIC).then_some(input)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    /// Frames with every field that a frame can have, but for a dictionary.
    fn frames(content: &[u8]) -> Vec<Vec<u8>> {
        let plain = FrameInfo::new().block_size(BlockSize::Max64KB);
        let linked = plain.clone().block_mode(BlockMode::Linked);
        let checked = plain.clone().block_checksums(true).content_checksum(true);
        let sized = checked.clone().content_size(Some(content.len() as u64));
        let encode = |info| {
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        };
        [plain, linked, checked, sized].map(encode).into()
    }

    fn is_read(frame: &[u8], content: &[u8]) -> bool {
        let mut out = Vec::new();
        decompress(frame, content.len(), &mut out).is_ok() && out == content
    }

    #[test]
    fn whole_frames_alone_are_read() {
        let content: Vec<u8> = (0..200_000u32).map(|number| (number / 100) as u8).collect();
        for frame in frames(&content) {
            assert!(is_read(&frame, &content));
            for cut in (0..frame.len()).rev().take(300) {
                assert!(!is_read(&frame[..cut], &content), "{cut} of {} bytes", frame.len());
            }
            assert!(!is_read(&[&frame[..], &[0]].concat(), &content));
        }
    }

    #[test]
    fn an_empty_block_does_not_stand_for_the_end() {
        let [frame, ..] = &frames(b"content")[..] else { panic!("no frames") };
        let blocks = &frame[..frame.len() - 4];
        // An uncompressed block of nothing, and a compressed one that becomes nothing.
        for block in [&[0, 0, 0, 0x80][..], &[1, 0, 0, 0, 0]] {
            assert!(!is_read(&[blocks, block].concat(), b"content"));
            assert!(!is_read(&[blocks, block, &[0; 4]].concat(), b"content"));
        }
    }

    #[test]
    fn the_legacy_format_is_refused() {
        let block = lz4_flex::block::compress(b"content");
        let legacy =
            [&0x184c_2102_u32.to_le_bytes()[..], &(block.len() as u32).to_le_bytes(), &block].concat();
        assert!(!is_read(&legacy, b"content"));
    }

    #[test]
    fn the_legacy_format_is_refused_even_if_it_has_a_frames_outline() {
        // Legacy: a block of one literal, then one of 4,206 literals in 0x1080 bytes. As a frame: flags 2, a block of
        // 4,096 bytes, one of 123, and the end mark.
        let mut literals = vec![0; 4_206];
        literals[4_096 - 3 - 18] = 123;
        let content = [&[0], &literals[..]].concat();
        let lengths = [&[0xf0][..], &[255; 16], &[(4_206 - 15 - 16 * 255) as u8]].concat();
        let legacy = [
            &0x184c_2102_u32.to_le_bytes()[..],
            &[2, 0, 0, 0, 0x10, 0],
            &[0x80, 0x10, 0, 0],
            &lengths,
            &literals,
        ]
        .concat();
        let mut decoded = Vec::new();
        std::io::Read::read_to_end(&mut FrameDecoder::new(&legacy[..]), &mut decoded).unwrap();
        assert_eq!(decoded, content);
        assert!(!is_read(&legacy, &content));
    }
}

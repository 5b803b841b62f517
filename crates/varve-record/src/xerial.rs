//! The framing of snappy blocks that Java's snappy library writes, and Kafka's clients with it.
//!
//! A header of 16 bytes (magic, version, least compatible version), then blocks: a length (big-endian, 4 bytes) and a
//! raw snappy block. Some clients write one raw block without any framing instead: both are read, the framing is written.

use bytes::{Buf, BufMut};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use crate::decompressor::Failure;

/// How a framed stream begins.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// The version that is written, and the least one that must be able to read it.
const VERSION: u32 = 1;

/// The bytes that one block holds once decompressed, as Java's library writes them.
const BLOCK_BYTES: usize = 32 * 1024;

/// No snappy block grows more than this: its densest element makes 64 bytes of 3.
const RATIO_MAX: usize = 22;

/// Appends `input` to `out`, compressed and framed.
pub(crate) fn compress(encoder: &mut Encoder, input: &[u8], out: &mut Vec<u8>) -> Result<(), snap::Error> {
    out.put_slice(&MAGIC);
    out.put_u32(VERSION);
    out.put_u32(VERSION);
    for block in input.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + size_of::<u32>();
        out.resize(block_at + max_compress_len(block.len()), 0);
        let compressed = encoder.compress(block, &mut out[block_at..])?;
        out.truncate(block_at + compressed);
        out[length_at..block_at].copy_from_slice(&(compressed as u32).to_be_bytes());
    }
    Ok(())
}

impl From<snap::Error> for Failure {
    fn from(_: snap::Error) -> Self {
        Self::Damaged
    }
}

/// Appends what `input` holds to `out`, which never grows beyond `bytes_max`.
pub(crate) fn decompress(
    decoder: &mut Decoder,
    mut input: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    if !input.starts_with(&MAGIC) {
        return decompress_block(decoder, input, bytes_max, out);
    }
    while !input.is_empty() {
        // Streams may follow each other, each with its header.
        if input.starts_with(&MAGIC) {
            input = input.get(MAGIC.len() + 2 * size_of::<u32>()..).ok_or(Failure::Damaged)?;
            continue;
        }
        let len = input.try_get_u32().map_err(|_| Failure::Damaged)?;
        let (block, rest) = input.split_at_checked(len as usize).ok_or(Failure::Damaged)?;
        decompress_block(decoder, block, bytes_max, out)?;
        input = rest;
    }
    Ok(())
}

fn decompress_block(
    decoder: &mut Decoder,
    block: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    // The length is only a claim: it is held against the limit and against what so few bytes can become at all, before
    // any memory is taken for it.
    let claimed = decompress_len(block)?;
    let end = out.len().saturating_add(claimed);
    if end > bytes_max {
        return Err(Failure::OverLimit(end));
    }
    if claimed > block.len() * RATIO_MAX {
        return Err(Failure::Damaged);
    }
    let start = out.len();
    out.resize(end, 0);
    let written = decoder.decompress(block, &mut out[start..])?;
    if written == claimed { Ok(()) } else { Err(Failure::Damaged) }
}

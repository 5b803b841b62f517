//! Compresses the records of batch after batch with one codec.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::{Compression, xerial};

/// The level of zstd: its own default, and Kafka's.
const ZSTD_LEVEL: i32 = 3;

/// One codec and what it needs again for each batch.
pub(crate) enum Compressor {
    None,
    Gzip,
    Snappy(Box<snap::raw::Encoder>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    /// Made at first use, because making it can fail.
    Zstd(Option<zstd::bulk::Compressor<'static>>),
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Lz4 => Self::Lz4(Box::new(FrameEncoder::with_frame_info(lz4_frame(), Vec::new()))),
            Compression::Zstd => Self::Zstd(None),
        }
    }

    /// Replaces what is in `out` by `input`, compressed. Without a codec, `out` is left empty.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match self {
            Self::None => Ok(()),
            Self::Gzip => gzip(input, out),
            Self::Snappy(encoder) => xerial::compress(encoder, input, out).map_err(io::Error::other),
            Self::Lz4(encoder) => lz4(encoder, input, out),
            Self::Zstd(context) => zstd(context, input, out),
        }
    }
}

/// Blocks of 64 KiB that stand alone: all that Java's clients read. The batch has a checksum, so the frame needs none.
fn lz4_frame() -> FrameInfo {
    FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent)
}

fn gzip(input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(input)?;
    encoder.finish().map(drop)
}

fn lz4(encoder: &mut FrameEncoder<Vec<u8>>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    encoder.get_mut().clear();
    encoder.write_all(input)?;
    encoder.try_finish()?;
    std::mem::swap(encoder.get_mut(), out);
    Ok(())
}

fn zstd(
    context: &mut Option<zstd::bulk::Compressor<'static>>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let context = match context {
        Some(context) => context,
        None => context.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
    };
    out.reserve(zstd::zstd_safe::compress_bound(input.len()));
    context.compress_to_buffer(input, out).map(drop)
}

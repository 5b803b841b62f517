//! Decompresses the records of batches, within bounds whatever their bytes claim.

use std::io::Read;

use flate2::bufread::GzDecoder;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_frame_content_size};

use crate::{BatchError, Compression, lz4, xerial};

/// The base-2 logarithm of the greatest zstd window: 64 MiB. Levels up to 21 stay within it.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// The first allocation for what is decompressed, if the limit is not less.
const START_BYTES: usize = 64 * 1024;

/// What [`Decompressor`] keeps of its buffer from one batch to the next, at most.
const RETAINED_BYTES_MAX: usize = 1024 * 1024;

/// A zstd context that has grown beyond this is not kept: 4 MiB, because Java's clients ask for windows of 2 MiB however
/// little they send.
const ZSTD_RETAINED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The contexts and the buffer that decompressing needs, for use again with batch after batch.
///
/// One belongs to whoever validates many batches; [`Batch::validate`](crate::Batch::validate) makes one for itself.
/// Between batches it holds at most 1 MiB of buffer, and up to 4 MiB for zstd once it has met that.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<DCtx<'static>>,
    snappy: snap::raw::Decoder,
    buffer: Vec<u8>,
}

impl Decompressor {
    /// Makes one that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses `input` into the own buffer, hands that to `read`, and gives its result.
    pub(crate) fn with_decompressed<T>(
        &mut self,
        compression: Compression,
        input: &[u8],
        bytes_max: usize,
        read: impl FnOnce(&[u8]) -> Result<T, BatchError>,
    ) -> Result<T, BatchError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let result = self.decompress(compression, input, bytes_max, &mut buffer).and_then(|()| read(&buffer));
        if buffer.capacity() <= RETAINED_BYTES_MAX {
            self.buffer = buffer;
        }
        result
    }

    /// Appends what `input` holds to `out`, which is empty and never grows beyond `bytes_max`.
    pub(crate) fn decompress(
        &mut self,
        compression: Compression,
        input: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), BatchError> {
        let result = match compression {
            Compression::None => copy(input, bytes_max, out),
            Compression::Gzip => gzip(input, bytes_max, out),
            Compression::Snappy => xerial::decompress(&mut self.snappy, input, bytes_max, out),
            Compression::Lz4 => lz4::decompress(input, bytes_max, out),
            Compression::Zstd => zstd(&mut self.zstd, input, bytes_max, out),
        };
        result.map_err(|failure| match failure {
            Failure::Damaged => BatchError::Decompress { compression },
            Failure::OverLimit(found) => BatchError::OverLimit {
                field: "decompressed size in bytes",
                found: found as u64,
                limit: bytes_max as u64,
            },
        })
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

/// Why a stream was not decompressed.
pub(crate) enum Failure {
    /// It is damaged, unfinished, or followed by other bytes.
    Damaged,
    /// It would pass the limit: it holds so many bytes or more.
    OverLimit(usize),
}

fn copy(input: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if input.len() > bytes_max {
        return Err(Failure::OverLimit(input.len()));
    }
    out.extend_from_slice(input);
    Ok(())
}

fn gzip(input: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut decoder = GzDecoder::new(input);
    read_to_end(&mut decoder, bytes_max, out)?;
    nothing_left(decoder.get_ref())
}

/// Exactly one stream: bytes behind it would be read by some readers and skipped by others.
pub(crate) fn nothing_left(rest: &[u8]) -> Result<(), Failure> {
    if rest.is_empty() { Ok(()) } else { Err(Failure::Damaged) }
}

/// Reads until `source` ends, into a buffer that doubles but never passes `bytes_max`. The buffer is set to zeros once, not
/// again for each of the small pieces that some sources give.
pub(crate) fn read_to_end(
    source: &mut impl Read,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut filled = out.len();
    let result = loop {
        if filled == bytes_max {
            break expect_end(source, bytes_max);
        }
        if filled == out.len() {
            let target = room_after(filled, bytes_max);
            out.reserve_exact(target - filled);
            out.resize(target, 0);
        }
        match source.read(&mut out[filled..]) {
            Ok(0) => break Ok(()),
            Ok(read) => filled += read,
            Err(_) => break Err(Failure::Damaged),
        }
    };
    out.truncate(filled);
    result
}

/// The buffer is full: the stream must have nothing more to give.
fn expect_end(source: &mut impl Read, bytes_max: usize) -> Result<(), Failure> {
    match source.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Failure::OverLimit(bytes_max + 1)),
        Err(_) => Err(Failure::Damaged),
    }
}

/// Makes room if there is none: twice as much as before, within `bytes_max`.
fn grow(out: &mut Vec<u8>, bytes_max: usize) {
    if out.len() == out.capacity() {
        out.reserve_exact(room_after(out.len(), bytes_max).saturating_sub(out.len()));
    }
}

/// How long a buffer is to be that is full with `len_bytes`.
fn room_after(len_bytes: usize, bytes_max: usize) -> usize {
    (len_bytes * 2).max(START_BYTES).min(bytes_max)
}

fn zstd(
    kept: &mut Option<DCtx<'static>>,
    input: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut context = kept.take().or_else(new_zstd).ok_or(Failure::Damaged)?;
    // A claimed size within the limit spares growing step by step; one beyond it is refused at once.
    if let Ok(Some(claimed)) = get_frame_content_size(input) {
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        if claimed > bytes_max {
            return Err(Failure::OverLimit(claimed));
        }
        out.reserve_exact(claimed);
    }
    let result = zstd_frame(&mut context, input, bytes_max, out);
    if context.sizeof() <= ZSTD_RETAINED_BYTES_MAX && context.reset(ResetDirective::SessionOnly).is_ok() {
        *kept = Some(context);
    }
    result
}

fn zstd_frame(
    context: &mut DCtx<'static>,
    input: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut source = InBuffer::around(input);
    loop {
        grow(out, bytes_max);
        let (read, written) = (source.pos(), out.len());
        let mut target = OutBuffer::around_pos(out, written);
        let more = context.decompress_stream(&mut target, &mut source).map_err(|_| Failure::Damaged)?;
        if out.len() > bytes_max {
            return Err(Failure::OverLimit(out.len()));
        }
        if more == 0 {
            return nothing_left(&input[source.pos()..]);
        }
        if source.pos() == read && out.len() == written {
            // No progress: either the buffer is full at the limit, or the input is used up before the frame's end.
            return Err(if written == bytes_max {
                Failure::OverLimit(bytes_max + 1)
            } else {
                Failure::Damaged
            });
        }
    }
}

fn new_zstd() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).ok()?;
    Some(context)
}

//! The bounds on what a batch may hold.

/// The most bytes of one encoded batch, header included: 8 MiB. No [`Limits`] raises it: [`Batch::decode`] holds it too,
/// so that every reader may size its buffers by it.
///
/// [`Batch::decode`]: crate::Batch::decode
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most records of one batch. Like [`BATCH_BYTES_MAX`], no [`Limits`] raises it.
pub const RECORDS_MAX: u32 = 1_000_000;

/// By default, the most bytes of one record: its key, value and encoded headers together. 1 MiB, so that a value of
/// exactly 1 MiB is taken.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// By default, the most bytes of a batch's records once decompressed: 64 MiB, eight times the greatest batch.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// By default, the most bytes that one compressed byte may become. Repetitive logs reach several hundred with zstd, and
/// deflate cannot pass 1,032; a bomb made of zstd's run-length blocks reaches 30,000.
pub const RATIO_MAX: usize = 1_000;

/// By default, the decompressed size up to which the ratio is not asked for: 1 MiB. One honest record of zeros has a
/// ratio of thousands and harms nobody.
pub const RATIO_EXEMPT_BYTES: usize = 1024 * 1024;

/// The bounds that [`Batch::validate`](crate::Batch::validate) and [`Batch::records`](crate::Batch::records) hold.
///
/// Whatever a batch claims, decompressing it never makes more than [`Limits::decompressed_bytes_allowed`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of the encoded batch; [`BATCH_BYTES_MAX`] by default and at most.
    pub batch_bytes_max: usize,
    /// The most records; [`RECORDS_MAX`] by default and at most.
    pub records_max: u32,
    /// The most bytes of one record's key, value and encoded headers together; [`RECORD_BYTES_MAX`] by default.
    pub record_bytes_max: usize,
    /// The most bytes of all records once decompressed; [`DECOMPRESSED_BYTES_MAX`] by default.
    pub decompressed_bytes_max: usize,
    /// The most bytes that one compressed byte may become; [`RATIO_MAX`] by default.
    pub ratio_max: usize,
    /// The decompressed size up to which `ratio_max` is not asked for; [`RATIO_EXEMPT_BYTES`] by default.
    pub ratio_exempt_bytes: usize,
}

impl Limits {
    /// The most bytes that `compressed_bytes` bytes may become: by size and by ratio, whichever is less.
    pub fn decompressed_bytes_allowed(&self, compressed_bytes: usize) -> usize {
        let by_ratio = compressed_bytes.saturating_mul(self.ratio_max).max(self.ratio_exempt_bytes);
        by_ratio.min(self.decompressed_bytes_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes_max: BATCH_BYTES_MAX,
            records_max: RECORDS_MAX,
            record_bytes_max: RECORD_BYTES_MAX,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            ratio_max: RATIO_MAX,
            ratio_exempt_bytes: RATIO_EXEMPT_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_the_lesser_of_size_and_ratio() {
        let limits = Limits::default();
        assert_eq!(limits.decompressed_bytes_allowed(10), RATIO_EXEMPT_BYTES);
        assert_eq!(limits.decompressed_bytes_allowed(10 * 1024), 10 * 1024 * RATIO_MAX);
        assert_eq!(limits.decompressed_bytes_allowed(usize::MAX), DECOMPRESSED_BYTES_MAX);
    }
}

//! The codecs that a batch may be compressed with.

use std::fmt;
use std::str::FromStr;

use crate::BatchError;

/// How the records of a batch are compressed. The discriminant is the number in the batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all: records are read without copying.
    #[default]
    None = 0,
    /// RFC 1952. Slow; read and written for clients that know nothing else.
    Gzip = 1,
    /// Snappy blocks in the framing of Java's snappy library.
    Snappy = 2,
    /// The LZ4 frame format. The cheapest to decompress.
    Lz4 = 3,
    /// Zstandard. The smallest.
    Zstd = 4,
}

impl Compression {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's name, as [`FromStr`] reads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl TryFrom<u8> for Compression {
    type Error = BatchError;

    fn try_from(code: u8) -> Result<Self, BatchError> {
        let unknown = BatchError::Field { field: "compression", found: code.into(), expected: "0 to 4" };
        Self::ALL.get(usize::from(code)).copied().ok_or(unknown)
    }
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(name: &str) -> Result<Self, ParseCompressionError> {
        let known = Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| ParseCompressionError { name: name.to_owned() })
    }
}

/// The name of a codec that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression `{name}`: use none, gzip, snappy, lz4 or zstd")]
pub struct ParseCompressionError {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip() {
        for (number, codec) in (0u8..).zip(Compression::ALL) {
            assert_eq!(codec as u8, number);
            assert_eq!(Compression::try_from(number), Ok(codec));
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        assert_eq!("ZSTD".parse(), Ok(Compression::Zstd));
    }

    #[test]
    fn refuses_what_does_not_exist() {
        let unknown = BatchError::Field { field: "compression", found: 5, expected: "0 to 4" };
        assert_eq!(Compression::try_from(5), Err(unknown));
        let error = "brotli".parse::<Compression>().unwrap_err();
        assert_eq!(error.to_string(), "unknown compression `brotli`: use none, gzip, snappy, lz4 or zstd");
    }
}

//! Cuts a stream of bytes at a delimiter, holding no more than one piece.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Longest piece: no batch can hold more.
pub(crate) const PIECE_BYTES_MAX: usize = varve_api::limits::BATCH_BYTES_MAX;

/// A piece is longer than any record may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts what is pushed; pieces share the memory of what was pushed wherever they lie within one push.
pub(crate) struct Splitter {
    delimiter: Finder<'static>,
    rest: Bytes,
    /// Bytes of `rest` that are known not to begin a delimiter.
    searched: usize,
}

impl Splitter {
    /// Cuts at this delimiter, which is not empty.
    pub(crate) fn new(delimiter: &[u8]) -> Self {
        Self { delimiter: Finder::new(delimiter).into_owned(), rest: Bytes::new(), searched: 0 }
    }

    /// Adds bytes, after all pieces of those before were taken.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.rest = bytes;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.rest.len() + bytes.len());
        joined.extend_from_slice(&self.rest);
        joined.extend_from_slice(&bytes);
        self.rest = joined.freeze();
    }

    /// The next piece that has its delimiter, without it.
    ///
    /// # Errors
    /// If what was pushed without a delimiter is too long.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(found) = self.delimiter.find(&self.rest[self.searched..]) else {
            if self.rest.len() > PIECE_BYTES_MAX {
                return Err(TooLong);
            }
            // The delimiter may have begun in the last bytes.
            self.searched = self.rest.len().saturating_sub(self.delimiter.needle().len() - 1);
            return Ok(None);
        };
        let piece = self.rest.split_to(self.searched + found);
        let _ = self.rest.split_to(self.delimiter.needle().len());
        self.searched = 0;
        if piece.len() > PIECE_BYTES_MAX { Err(TooLong) } else { Ok(Some(piece)) }
    }

    /// What is left at the end, which had no delimiter; `None` if nothing is.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { None } else { Some(rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8], delimiter: &[u8], chunk: usize) -> Vec<Bytes> {
        let mut splitter = Splitter::new(delimiter);
        let mut pieces = Vec::new();
        for bytes in text.chunks(chunk) {
            splitter.push(Bytes::copy_from_slice(bytes));
            while let Some(piece) = splitter.next().expect("short") {
                pieces.push(piece);
            }
        }
        pieces.extend(splitter.finish());
        pieces
    }

    #[test]
    fn pieces_do_not_depend_on_chunks() {
        for chunk in 1..12 {
            assert_eq!(split(b"one\ntwo\n\nthree", b"\n", chunk), ["one", "two", "", "three"]);
            assert_eq!(split(b"one\ntwo\n", b"\n", chunk), ["one", "two"]);
            assert_eq!(split(b"a\r\nb\rc\r\n\r\n", b"\r\n", chunk), ["a", "b\rc", ""]);
            assert_eq!(split(b"aXXXbXX", b"XX", chunk), ["a", "Xb"]);
            assert!(split(b"", b"\n", chunk).is_empty());
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut splitter = Splitter::new(b"\n");
        splitter.push(vec![b'x'; PIECE_BYTES_MAX].into());
        assert_eq!(splitter.next(), Ok(None));
        splitter.push(Bytes::from_static(b"x"));
        assert_eq!(splitter.next(), Err(TooLong));
    }
}

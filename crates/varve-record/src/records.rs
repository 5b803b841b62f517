//! The records of a batch, decompressed.

use bytes::Bytes;

use crate::record_ref::RecordBase;
use crate::{BatchError, Header, Record, RecordRef};

/// The records of a batch, decompressed: what [`Batch::records`](crate::Batch::records) gives.
///
/// Where the batch is not compressed this shares its memory; else it holds one allocation for all records.
#[derive(Clone, Debug)]
pub struct Records {
    encoded: Bytes,
    base: RecordBase,
    count: u32,
}

impl Records {
    pub(crate) fn new(encoded: Bytes, base: RecordBase, count: u32) -> Self {
        Self { encoded, base, count }
    }

    /// How many records the batch claims; [`Records::iter`] gives so many unless one is malformed.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Always false: a batch has at least one record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the records, decompressed.
    pub fn size_bytes(&self) -> usize {
        self.encoded.len()
    }

    /// Iterates over the records without copying. Records of a batch that was validated never give an error; otherwise
    /// the first one ends the iteration.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(&self.encoded, self.base, self.count)
    }

    /// As [`Records::iter`], but keys and values are slices that own their share of the memory; no bytes are copied
    /// except headers' names.
    pub fn owned(&self) -> impl Iterator<Item = Result<Record, BatchError>> + '_ {
        self.iter().map(|record| record.map(|record| self.own(&record)))
    }

    /// As [`Records::owned`], but to be kept: whoever takes some records now and some later parses each once.
    pub fn into_owned(self) -> OwnedRecords {
        OwnedRecords { records: self, at: 0, next: 0 }
    }

    fn own(&self, record: &RecordRef<'_>) -> Record {
        let share = |bytes: &[u8]| self.encoded.slice_ref(bytes);
        let own_header = |header: crate::HeaderRef<'_>| Header {
            name: header.name.to_owned(),
            value: header.value.map(share),
        };
        Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(share),
            value: record.value.map(share),
            headers: record.headers.iter().map(own_header).collect(),
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordRef<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Iterates over the records of a batch that it holds itself: what [`Records::into_owned`] gives.
#[derive(Clone, Debug)]
pub struct OwnedRecords {
    records: Records,
    /// Where the next record begins.
    at: usize,
    next: u32,
}

impl Iterator for OwnedRecords {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Records { encoded, base, count } = &self.records;
        let mut rest = RecordIter { rest: &encoded[self.at..], base: *base, next: self.next, count: *count };
        let record = rest.next()?;
        (self.at, self.next) = (encoded.len() - rest.rest.len(), rest.next);
        Some(record.map(|record| self.records.own(&record)))
    }
}

impl std::iter::FusedIterator for OwnedRecords {}

/// Iterates over the records of a batch, and holds that they are dense, as many as claimed, and all there is.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    base: RecordBase,
    next: u32,
    count: u32,
}

impl<'a> RecordIter<'a> {
    pub(crate) fn new(encoded: &'a [u8], base: RecordBase, count: u32) -> Self {
        Self { rest: encoded, base, next: 0, count }
    }

    fn fail(&mut self, error: BatchError) -> Option<Result<RecordRef<'a>, BatchError>> {
        self.next = self.count;
        self.rest = &[];
        Some(Err(error))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next;
        if record == self.count {
            let found = self.rest.len();
            return if found == 0 { None } else { self.fail(BatchError::Trailing { found }) };
        }
        match self.base.parse(record, &mut self.rest) {
            Ok(parsed) => {
                self.next += 1;
                Some(Ok(parsed))
            }
            Err(fault) => self.fail(BatchError::Record { record, fault }),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A malformed record ends the iteration early, and bytes left over give one error more.
        (0, Some((self.count - self.next) as usize + 1))
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

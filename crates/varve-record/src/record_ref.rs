//! A record that borrows its bytes, and how one is parsed.

use crate::error::RecordFault;
use crate::{Offset, Timestamp, varint};

/// A record that borrows its bytes from the [`Records`](crate::Records) it was read from.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// The record's place in its partition.
    pub offset: Offset,
    /// When the producer made it.
    pub timestamp: Timestamp,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
    /// The headers, in the producer's order; names may repeat.
    pub headers: HeadersRef<'a>,
}

impl RecordRef<'_> {
    /// The bytes of key, value and encoded headers together: what
    /// [`Limits::record_bytes_max`](crate::Limits::record_bytes_max) bounds.
    pub fn size_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.encoded.len()
    }
}

/// One header of a record: given to [`BatchBuilder::push`](crate::BatchBuilder::push), and read from a [`RecordRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The name; it may repeat within a record.
    pub name: &'a str,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// The headers of a [`RecordRef`]. They are known to parse.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadersRef<'a> {
    count: u32,
    encoded: &'a [u8],
}

impl<'a> HeadersRef<'a> {
    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, in the producer's order.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { rest: self.encoded }
    }
}

impl<'a> IntoIterator for HeadersRef<'a> {
    type Item = HeaderRef<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over the headers of a record.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        // All of them parsed when the record did, so an error cannot happen here: the bytes just end.
        parse_header(&mut self.rest).ok()
    }
}

/// What a record of a batch is relative to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordBase {
    pub(crate) offset: Offset,
    pub(crate) timestamp: i64,
    /// If the timestamps are append times, the one of all records.
    pub(crate) append_timestamp: Option<i64>,
}

impl RecordBase {
    /// Takes one record off the front of `input`; it must be the batch's record number `place`.
    #[inline]
    pub(crate) fn parse<'a>(&self, place: u32, input: &mut &'a [u8]) -> Result<RecordRef<'a>, RecordFault> {
        let mut body = take_bytes(input).flatten().ok_or(RecordFault::Length)?;
        // Attributes of a record: no bit has a meaning, and Kafka's readers skip them too.
        body = body.split_first().ok_or(RecordFault::Attributes)?.1;
        let timestamp = self.timestamp(varint::read_i64(&mut body)).ok_or(RecordFault::Timestamp)?;
        if varint::read_i64(&mut body) != Some(place.into()) {
            return Err(RecordFault::OffsetDelta);
        }
        let key = take_bytes(&mut body).ok_or(RecordFault::Key)?;
        let value = take_bytes(&mut body).ok_or(RecordFault::Value)?;
        let headers = parse_headers(body)?;
        let offset = Offset::new(self.offset.get() + u64::from(place));
        Ok(RecordRef { offset, timestamp: Timestamp::new(timestamp), key, value, headers })
    }

    fn timestamp(&self, delta: Option<i64>) -> Option<i64> {
        let created = self.timestamp.checked_add(delta?)?;
        Some(self.append_timestamp.unwrap_or(created))
    }
}

#[inline]
fn parse_headers(mut body: &[u8]) -> Result<HeadersRef<'_>, RecordFault> {
    let count = varint::read_i32(&mut body).and_then(|count| u32::try_from(count).ok());
    let count = count.ok_or(RecordFault::Headers)?;
    let encoded = body;
    for _ in 0..count {
        parse_header(&mut body)?;
    }
    if body.is_empty() { Ok(HeadersRef { count, encoded }) } else { Err(RecordFault::Trailing) }
}

fn parse_header<'a>(input: &mut &'a [u8]) -> Result<HeaderRef<'a>, RecordFault> {
    let name = take_bytes(input).flatten().ok_or(RecordFault::Headers)?;
    let name = std::str::from_utf8(name).map_err(|_| RecordFault::HeaderName)?;
    let value = take_bytes(input).ok_or(RecordFault::Headers)?;
    Ok(HeaderRef { name, value })
}

/// Takes a length and as many bytes off the front. A length of -1 gives `Some(None)`; one that is malformed or passes the
/// end gives `None`.
#[inline]
fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = varint::read_i32(input)?;
    if len == -1 {
        return Some(None);
    }
    let (taken, rest) = input.split_at_checked(usize::try_from(len).ok()?)?;
    *input = rest;
    Some(Some(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: RecordBase =
        RecordBase { offset: Offset::new(100), timestamp: 1_000, append_timestamp: None };

    /// Length, attributes, timestamp delta -1, offset delta 1, null key, value "ab", one header "h" without a value.
    const RECORD: [u8; 12] = [22, 0, 1, 2, 1, 4, b'a', b'b', 2, 2, b'h', 1];

    fn parse(bytes: &[u8]) -> Result<RecordRef<'_>, RecordFault> {
        BASE.parse(1, &mut &bytes[..])
    }

    #[track_caller]
    fn assert_fault(place: usize, byte: u8, fault: RecordFault) {
        let mut bytes = RECORD;
        bytes[place] = byte;
        assert_eq!(parse(&bytes).err(), Some(fault), "byte {place} set to {byte}");
    }

    #[test]
    fn parses_every_field() {
        let record = parse(&RECORD).unwrap();
        assert_eq!((record.offset, record.timestamp), (Offset::new(101), Timestamp::new(999)));
        assert_eq!((record.key, record.value), (None, Some(&b"ab"[..])));
        assert_eq!(record.headers.len(), 1);
        assert_eq!(record.headers.iter().collect::<Vec<_>>(), [HeaderRef { name: "h", value: None }]);
        assert_eq!(record.size_bytes(), 2 + 3);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        assert_fault(0, 24, RecordFault::Length);
        assert_fault(0, 1, RecordFault::Length);
        assert_fault(0, 0, RecordFault::Attributes);
        assert_fault(0, 2, RecordFault::Timestamp);
        assert_fault(0, 4, RecordFault::OffsetDelta);
        assert_fault(3, 4, RecordFault::OffsetDelta);
        assert_fault(4, 3, RecordFault::Key);
        assert_fault(5, 100, RecordFault::Value);
        assert_fault(8, 1, RecordFault::Headers);
        assert_fault(8, 4, RecordFault::Headers);
        assert_fault(9, 1, RecordFault::Headers);
        assert_fault(10, 0xff, RecordFault::HeaderName);
        assert_fault(8, 0, RecordFault::Trailing);
    }

    #[test]
    fn a_timestamp_never_overflows() {
        let base = RecordBase { timestamp: i64::MIN, ..BASE };
        assert_eq!(base.parse(1, &mut &RECORD[..]).err(), Some(RecordFault::Timestamp));
    }

    #[test]
    fn the_append_time_is_that_of_all_records() {
        let base = RecordBase { append_timestamp: Some(5), ..BASE };
        assert_eq!(base.parse(1, &mut &RECORD[..]).unwrap().timestamp, Timestamp::new(5));
    }
}

//! Where in a segment an entry, an offset or a time is to be looked for.

use bytes::{Buf, BufMut, Bytes};
use varve_record::{Index, Offset, Timestamp};

/// An entry of the index is made where this many bytes of frames lie behind the last one.
pub(crate) const INDEX_INTERVAL_BYTES: u64 = 32 * 1024;

const POINT_BYTES: usize = 8 + 8 + 8 + 8;

/// One frame's place. All fields rise from point to point (times may stay).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexPoint {
    pub(crate) index: Index,
    /// The offset of the frame's first record, or that the next record gets.
    pub(crate) base_offset: Offset,
    /// The greatest append time of any entry before this frame.
    pub(crate) time_before: Timestamp,
    pub(crate) position: u64,
}

/// The places of some frames of one segment: the first one, and one each [`INDEX_INTERVAL_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseIndex {
    points: Vec<IndexPoint>,
}

impl SparseIndex {
    /// Takes note of a frame, if it lies far enough behind the last one noted.
    pub(crate) fn note(&mut self, point: IndexPoint) {
        let due =
            self.points.last().is_none_or(|last| point.position >= last.position + INDEX_INTERVAL_BYTES);
        if due {
            self.points.push(point);
        }
    }

    /// The last point at or before an entry.
    pub(crate) fn before_index(&self, index: Index) -> Option<IndexPoint> {
        self.last_where(|point| point.index <= index)
    }

    /// The last point at or before an offset.
    pub(crate) fn before_offset(&self, offset: Offset) -> Option<IndexPoint> {
        // Entries without records share the base offset of the batch behind them, so the last such point is right too.
        self.last_where(|point| point.base_offset <= offset)
    }

    /// The last point before which every append time is before `time`.
    pub(crate) fn before_time(&self, time: Timestamp) -> Option<IndexPoint> {
        self.last_where(|point| point.time_before < time)
    }

    /// Drops the points at or behind a position: the segment was cut there.
    pub(crate) fn cut(&mut self, end: u64) {
        let keep = self.points.partition_point(|point| point.position < end);
        self.points.truncate(keep);
    }

    pub(crate) fn points(&self) -> &[IndexPoint] {
        &self.points
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.points.len() as u64);
        for point in &self.points {
            out.put_u64_le(point.index.get());
            out.put_u64_le(point.base_offset.get());
            out.put_i64_le(point.time_before.get());
            out.put_u64_le(point.position);
        }
    }

    /// Reads an index off the front; `None` where it is malformed.
    pub(crate) fn decode(fields: &mut Bytes) -> Option<Self> {
        let count = usize::try_from(fields.try_get_u64_le().ok()?).ok()?;
        if fields.len() / POINT_BYTES < count {
            return None;
        }
        let points = (0..count).map(|_| IndexPoint {
            index: Index::new(fields.get_u64_le()),
            base_offset: Offset::new(fields.get_u64_le()),
            time_before: Timestamp::new(fields.get_i64_le()),
            position: fields.get_u64_le(),
        });
        let index = Self { points: points.collect() };
        index.rises().then_some(index)
    }

    fn rises(&self) -> bool {
        self.points.windows(2).all(|pair| {
            let (a, b) = (&pair[0], &pair[1]);
            a.index < b.index
                && a.base_offset <= b.base_offset
                && a.time_before <= b.time_before
                && a.position < b.position
        })
    }

    fn last_where(&self, at_or_before: impl Fn(&IndexPoint) -> bool) -> Option<IndexPoint> {
        self.points[..self.points.partition_point(at_or_before)].last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(n: u64) -> IndexPoint {
        IndexPoint {
            index: Index::new(n),
            base_offset: Offset::new(n * 10),
            time_before: Timestamp::new(n as i64 * 100),
            position: 4096 + n * INDEX_INTERVAL_BYTES,
        }
    }

    fn index() -> SparseIndex {
        let mut index = SparseIndex::default();
        (1..5).for_each(|n| index.note(point(n)));
        index
    }

    #[test]
    fn finds_the_last_point_before() {
        let index = index();
        assert_eq!(index.before_index(Index::new(0)), None);
        assert_eq!(index.before_index(Index::new(3)), Some(point(3)));
        assert_eq!(index.before_offset(Offset::new(29)), Some(point(2)));
        // At point 3 the greatest time so far is 300: the first entry with 300 may lie before it.
        assert_eq!(index.before_time(Timestamp::new(300)), Some(point(2)));
        assert_eq!(index.before_time(Timestamp::new(9999)), Some(point(4)));
    }

    #[test]
    fn notes_only_what_lies_far_enough() {
        let mut index = index();
        index.note(IndexPoint { position: point(4).position + 1, ..point(5) });
        assert_eq!(index.points().len(), 4);
        index.cut(point(3).position);
        assert_eq!(index.points().len(), 2);
    }

    #[test]
    fn reads_what_it_writes_and_refuses_what_falls() {
        let mut out = Vec::new();
        index().encode(&mut out);
        assert_eq!(SparseIndex::decode(&mut out.clone().into()), Some(index()));
        assert_eq!(SparseIndex::decode(&mut Bytes::from(out).slice(..40)), None);
        let mut falling = SparseIndex { points: vec![point(2), point(1)] };
        let mut out = Vec::new();
        falling.encode(&mut out);
        assert_eq!(SparseIndex::decode(&mut out.into()), None);
        falling.points.clear();
    }
}

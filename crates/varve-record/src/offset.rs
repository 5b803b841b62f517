//! A record's place in a partition.

use std::ops::Add;

use crate::ids::id_type;

id_type! {
    /// A record's place in a partition: dense from 0, and what it holds never changes.
    ///
    /// A batch carries it as a signed 64-bit number, so it never passes [`Offset::MAX`].
    Offset(u64)
}

impl Offset {
    /// The greatest offset that a batch can carry.
    pub const MAX: Self = Self::new(i64::MAX as u64);

    /// The offset `records` further on, or `None` beyond [`Offset::MAX`].
    pub fn checked_add(self, records: u64) -> Option<Self> {
        self.get().checked_add(records).map(Self::new).filter(|sum| *sum <= Self::MAX)
    }

    /// The offset after this one.
    ///
    /// # Panics
    /// Beyond [`Offset::MAX`], which no log reaches.
    pub fn next(self) -> Self {
        self + 1
    }

    /// The offset before this one, or `None` at 0.
    pub fn prev(self) -> Option<Self> {
        self.get().checked_sub(1).map(Self::new)
    }

    /// How many records lie from `earlier` (inclusive) to this offset (exclusive), or `None` if `earlier` is later.
    pub fn distance_from(self, earlier: Self) -> Option<u64> {
        self.get().checked_sub(earlier.get())
    }
}

/// For counts that are already known to be sane; use [`Offset::checked_add`] for what came from outside.
///
/// # Panics
/// Beyond [`Offset::MAX`].
impl Add<u64> for Offset {
    type Output = Self;

    fn add(self, records: u64) -> Self {
        self.checked_add(records).expect("no log holds 2^63 records")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_records() {
        let five = Offset::new(5);
        assert_eq!(five + 3, Offset::new(8));
        assert_eq!(five.next(), Offset::new(6));
        assert_eq!(five.prev(), Some(Offset::new(4)));
        assert_eq!(Offset::default().prev(), None);
        assert_eq!(Offset::new(8).distance_from(five), Some(3));
        assert_eq!(five.distance_from(Offset::new(8)), None);
    }

    #[test]
    fn never_passes_what_a_batch_can_carry() {
        assert_eq!(Offset::MAX.checked_add(0), Some(Offset::MAX));
        assert_eq!(Offset::MAX.checked_add(1), None);
        assert_eq!(Offset::new(1).checked_add(u64::MAX), None);
    }
}

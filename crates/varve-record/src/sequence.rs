//! A producer's own count of its records.

use crate::ids::id_type;

id_type! {
    /// An idempotent producer's own count of its records in one partition: 0 to `i32::MAX`, then 0 again.
    Sequence(i32)
}

/// Sequences are counted modulo 2^31: the sign bit is never used.
const VALUE_BITS: u32 = i32::MAX as u32;

impl Sequence {
    /// The sequence `records` further on, wrapping from `i32::MAX` to 0 as Kafka's clients count.
    pub const fn wrapping_add(self, records: u32) -> Self {
        Self::new(((self.get() as u32).wrapping_add(records) & VALUE_BITS) as i32)
    }

    /// The sequence of the next record.
    pub const fn next(self) -> Self {
        self.wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_to_zero() {
        assert_eq!(Sequence::new(7).next(), Sequence::new(8));
        assert_eq!(Sequence::new(i32::MAX).next(), Sequence::new(0));
        assert_eq!(Sequence::new(i32::MAX - 1).wrapping_add(5), Sequence::new(3));
        assert_eq!(Sequence::new(i32::MAX).wrapping_add(i32::MAX as u32), Sequence::new(i32::MAX - 1));
    }
}

//! An entry's place in a Raft log.

use crate::ids::id_type;

id_type! {
    /// An entry's place in a Raft log. Entries without records have one too, so it runs ahead of the
    /// [`Offset`](crate::Offset).
    Index(u64)
}

impl Index {
    /// The index after this one.
    ///
    /// # Panics
    /// At `u64::MAX`, which no log reaches.
    pub const fn next(self) -> Self {
        Self::new(self.get().checked_add(1).expect("no log holds 2^64 entries"))
    }

    /// The index before this one, or `None` at 0.
    pub fn prev(self) -> Option<Self> {
        self.get().checked_sub(1).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_both_ways() {
        assert_eq!(Index::new(1).next(), Index::new(2));
        assert_eq!(Index::new(1).prev(), Some(Index::new(0)));
        assert_eq!(Index::new(0).prev(), None);
    }
}

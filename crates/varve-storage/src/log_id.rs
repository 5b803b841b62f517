//! The name of an entry in a Raft log.

use std::fmt;
use varve_record::{Index, Term};

/// An entry's name: the term of the leader that made it and its place in the log. Ordered by term, then index, as Raft
/// compares logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: Term,
    /// The entry's place in the log.
    pub index: Index,
}

impl LogId {
    /// Names the entry at `index`, proposed in `term`.
    #[must_use]
    pub const fn new(term: Term, index: Index) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}-{}", self.term, self.index)
    }
}

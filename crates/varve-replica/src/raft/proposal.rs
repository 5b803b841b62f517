//! What a leader proposes.

use super::commit_clock::Mark;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use varve_record::{Offset, Timestamp};
use varve_storage::EntryKind;

/// An entry that does not know its index yet.
#[derive(Clone)]
pub(crate) struct Proposal {
    pub(crate) kind: EntryKind,
    pub(crate) append_time: Timestamp,
    /// The offset that the log's end had when this was judged; `None` where that does not matter. Where it has another one by
    /// the time the entry is appended, the entry is voided.
    pub(crate) expected: Option<Offset>,
    pub(crate) body: Bytes,
    /// Where somebody watches it.
    pub(crate) mark: Option<Arc<Mark>>,
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the body: it is the user's.
        write!(f, "{:?} of {} bytes", self.kind, self.body.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

//! The state of a log as of one of its entries.

use crate::{LogId, ProducerTable};
use bytes::Bytes;
use std::sync::Arc;
use varve_record::{Index, Offset, Timestamp};

/// The newest membership of a Raft group up to some entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMembership {
    /// The entry that set it.
    pub log_id: LogId,
    /// The entry's body, as given.
    pub body: Bytes,
}

/// All that follows from a log's entries up to one of them. Each segment begins with the state before its first entry, so
/// that a start replays one segment at most. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndState {
    /// The offset that the next record gets.
    pub next_offset: Offset,
    /// The first offset kept, by the [`Trim`](crate::EntryKind::Trim) entries so far.
    pub log_start_offset: Offset,
    /// The last entry; `None` where there was never one.
    pub last: Option<LogId>,
    /// The greatest append time of any entry so far.
    pub last_append_time: Timestamp,
    /// The newest membership.
    pub membership: Option<StoredMembership>,
    /// What idempotent producers sent last. Shared: a clone that is kept costs the log one copy of the table at its next
    /// append.
    pub producers: Arc<ProducerTable>,
}

impl EndState {
    /// The index that the next entry must have.
    #[must_use]
    pub fn next_index(&self) -> Index {
        self.last.map_or(Index::new(0), |last| last.index.next())
    }
}

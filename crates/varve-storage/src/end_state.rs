//! The state of a log as of one of its entries.

use crate::checkpoint;
use crate::producers::ProducerBatch;
use crate::{Entry, EntryKind, LogId, ProducerTable};
use bytes::Bytes;
use std::sync::Arc;
use varve_record::{Batch, Index, Offset, Timestamp};

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

    /// The state's bytes, as in a checkpoint.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        checkpoint::encode(self, &mut bytes);
        bytes.into()
    }

    /// Reads a state; `None` where the bytes are none.
    #[must_use]
    pub fn decode(bytes: Bytes) -> Option<Self> {
        checkpoint::decode(bytes)
    }

    /// Takes the next entry into account, `batch` beside it where it holds one. Decides by the entry alone, so that every
    /// replica comes to the same state. `producers_max` is the log's [`PartitionConfig::producers_max`](crate::PartitionConfig).
    pub fn apply(&mut self, entry: &Entry, batch: Option<&Batch>, producers_max: usize) {
        match entry.kind {
            EntryKind::Blank | EntryKind::Command => {}
            EntryKind::Batch => self.apply_producer(entry, batch, producers_max),
            EntryKind::Membership => {
                self.membership = Some(StoredMembership { log_id: entry.log_id, body: entry.body.clone() });
            }
            EntryKind::Trim => {
                // A trim beyond the end trims all there is; offsets are never skipped.
                let start = entry.trim_offset().unwrap_or_default().min(self.next_offset);
                self.log_start_offset = self.log_start_offset.max(start);
            }
        }
        self.next_offset = entry.next_offset();
        self.last = Some(entry.log_id);
        self.last_append_time = self.last_append_time.max(entry.append_time);
    }

    fn apply_producer(&mut self, entry: &Entry, batch: Option<&Batch>, producers_max: usize) {
        let Some((id, epoch, first_sequence)) = batch.and_then(Batch::producer) else { return };
        let batch = ProducerBatch {
            first_sequence,
            record_count: entry.record_count,
            first_offset: entry.base_offset,
            append_time: entry.append_time,
            index: entry.log_id.index,
        };
        Arc::make_mut(&mut self.producers).record(id, epoch, batch, producers_max);
    }
}

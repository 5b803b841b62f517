//! One entry of a log.

use crate::LogId;
use bytes::Bytes;
use varve_record::{Batch, BatchError, Offset, Timestamp};

/// What an entry is for. The discriminant is the number in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry.
    Blank = 1,
    /// One record batch.
    Batch = 2,
    /// A membership of the Raft group; opaque here, but the newest is part of every checkpoint.
    Membership = 3,
    /// A command for a state machine; opaque here.
    Command = 4,
    /// A new log start offset.
    Trim = 5,
}

/// One entry of a log. Cheap to clone: the body is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name.
    pub log_id: LogId,
    /// What it is for.
    pub kind: EntryKind,
    /// When its leader appended it.
    pub append_time: Timestamp,
    /// The offset of its first record, or the one that the next record gets where it has none; set by
    /// [`PartitionLog::append`](crate::PartitionLog::append).
    pub base_offset: Offset,
    /// How many records it holds; 0 unless it is a batch.
    pub record_count: u32,
    /// A batch's bytes, a trim's offset, or whatever its owner put there.
    pub body: Bytes,
}

impl Entry {
    /// An entry with a record batch.
    #[must_use]
    pub fn batch(log_id: LogId, append_time: Timestamp, batch: Batch) -> Self {
        Self {
            log_id,
            kind: EntryKind::Batch,
            append_time,
            base_offset: batch.base_offset(),
            record_count: batch.record_count(),
            body: batch.into_bytes(),
        }
    }

    /// An entry without content.
    #[must_use]
    pub fn blank(log_id: LogId, append_time: Timestamp) -> Self {
        Self::opaque(log_id, EntryKind::Blank, append_time, Bytes::new())
    }

    /// A command for a state machine.
    #[must_use]
    pub fn command(log_id: LogId, append_time: Timestamp, body: Bytes) -> Self {
        Self::opaque(log_id, EntryKind::Command, append_time, body)
    }

    /// A membership of the Raft group.
    #[must_use]
    pub fn membership(log_id: LogId, append_time: Timestamp, body: Bytes) -> Self {
        Self::opaque(log_id, EntryKind::Membership, append_time, body)
    }

    /// Moves the log's start: records before `new_start` are no longer wanted.
    #[must_use]
    pub fn trim(log_id: LogId, append_time: Timestamp, new_start: Offset) -> Self {
        let body = Bytes::copy_from_slice(&new_start.get().to_le_bytes());
        Self::opaque(log_id, EntryKind::Trim, append_time, body)
    }

    /// The offset after the entry's last record.
    ///
    /// # Panics
    /// Beyond [`Offset::MAX`], which [`PartitionLog::append`](crate::PartitionLog::append) refuses.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.base_offset + u64::from(self.record_count)
    }

    /// Where a trim moves the log's start; `None` for other kinds and for a malformed one.
    #[must_use]
    pub fn trim_offset(&self) -> Option<Offset> {
        if self.kind != EntryKind::Trim {
            return None;
        }
        let bytes = self.body.as_ref().try_into().ok()?;
        Some(Offset::new(u64::from_le_bytes(bytes))).filter(|offset| *offset <= Offset::MAX)
    }

    /// The record batch of a [`EntryKind::Batch`] entry. Its checksum is not computed again: storage has checked the frame
    /// around it.
    ///
    /// # Errors
    /// Where the body is no batch.
    pub fn to_batch(&self) -> Result<Batch, BatchError> {
        Batch::from_trusted(self.body.clone())
    }

    fn opaque(log_id: LogId, kind: EntryKind, append_time: Timestamp, body: Bytes) -> Self {
        Self { log_id, kind, append_time, base_offset: Offset::default(), record_count: 0, body }
    }
}

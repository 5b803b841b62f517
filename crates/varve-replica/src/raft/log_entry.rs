//! An entry as consensus handles it.

use super::commit_clock::Mark;
use super::membership;
use super::proposal::Proposal;
use super::types::{LeaderTerm, RaftLogId, RaftMembership, from_raft};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use std::fmt;
use std::sync::Arc;
use varve_record::{Offset, Timestamp};
use varve_storage::{Entry, EntryKind};

/// An entry of the log with what consensus wants to know of it.
#[derive(Clone)]
pub(crate) struct LogEntry {
    leader: LeaderTerm,
    pub(crate) entry: Entry,
    origin: Origin,
    /// Where somebody watches it.
    pub(crate) mark: Option<Arc<Mark>>,
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// This node leads and has just made it; its records go where the log ends, or must go to the offset given.
    Here { expected: Option<Offset> },
    /// It was read from the log, or sent by a leader: its base offset is final.
    Log,
}

impl LogEntry {
    /// An entry that was read from a log.
    pub(crate) fn stored(entry: Entry) -> Self {
        let leader = LeaderTerm::new(entry.log_id.term.get());
        Self { leader, entry, origin: Origin::Log, mark: None }
    }

    /// Whether this node leads and has just made it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.origin, Origin::Here { .. })
    }

    /// The entry as it goes into a log that ends at `next_offset`. An entry that was judged against another end is voided:
    /// it keeps its name, for others have been promised it, and holds nothing.
    ///
    /// # Errors
    /// Where a leader's entry has another base offset than it gets here: the logs differ, which must never be.
    pub(crate) fn placed(
        mut self,
        next_offset: Offset,
        last_append_time: Timestamp,
    ) -> Result<Entry, Diverged> {
        let log_id = self.entry.log_id;
        match self.origin {
            Origin::Here { expected: Some(expected) } if expected != next_offset => {
                Ok(Entry::blank(log_id, last_append_time))
            }
            Origin::Here { .. } => {
                self.entry.append_time = self.entry.append_time.max(last_append_time);
                Ok(self.entry)
            }
            Origin::Log if self.entry.base_offset != next_offset => {
                Err(Diverged { index: log_id.index.get(), sent: self.entry.base_offset, here: next_offset })
            }
            Origin::Log => Ok(self.entry),
        }
    }
}

/// Two logs give different offsets to the same entry.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("entry {index} has base offset {sent} on the leader, but {here} here: the logs have diverged")]
pub(crate) struct Diverged {
    index: u64,
    sent: Offset,
    here: Offset,
}

impl RaftEntry for LogEntry {
    type CommittedLeaderId = LeaderTerm;
    type Payload = EntryPayload<Proposal, u64, ()>;

    fn new(log_id: RaftLogId, payload: Self::Payload) -> Self {
        let leader = log_id.leader_id;
        let log_id = from_raft(&log_id);
        let unstamped = Timestamp::default();
        let (entry, expected, mark) = match payload {
            EntryPayload::Blank => (Entry::blank(log_id, unstamped), None, None),
            EntryPayload::Membership(members) => {
                (Entry::membership(log_id, unstamped, membership::encode(&members)), None, None)
            }
            EntryPayload::Normal(proposal) => {
                let Proposal { kind, append_time, expected, body, mark } = proposal;
                let base_offset = expected.unwrap_or_default();
                let entry = Entry { log_id, kind, append_time, base_offset, record_count: 0, body };
                (entry, expected, mark)
            }
        };
        Self { leader, entry, origin: Origin::Here { expected }, mark }
    }

    fn log_id_parts(&self) -> (&LeaderTerm, u64) {
        (&self.leader, self.entry.log_id.index.get())
    }

    fn set_log_id(&mut self, log_id: RaftLogId) {
        self.leader = log_id.leader_id;
        self.entry.log_id = from_raft(&log_id);
    }

    fn get_membership(&self) -> Option<RaftMembership> {
        if self.entry.kind != EntryKind::Membership {
            return None;
        }
        // A malformed one is refused where entries come in; one of a newer version is refused there too.
        membership::decode(&self.entry.body)
    }
}

impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of {} bytes", self.entry.log_id, self.entry.kind, self.entry.body.len())
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn proposed(expected: u64) -> LogEntry {
        let proposal = Proposal {
            kind: EntryKind::Command,
            append_time: Timestamp::new(5),
            expected: Some(Offset::new(expected)),
            body: Bytes::from_static(b"body"),
            mark: None,
        };
        LogEntry::new(RaftLogId::new(LeaderTerm::new(2), 7), EntryPayload::Normal(proposal))
    }

    #[test]
    fn what_was_judged_for_another_place_keeps_its_name_and_holds_nothing() {
        let time = Timestamp::new(9);
        let taken = proposed(3).placed(Offset::new(3), time).unwrap();
        assert_eq!((taken.kind, taken.body.len(), taken.append_time), (EntryKind::Command, 4, time));
        for end in [2, 4] {
            let voided = proposed(3).placed(Offset::new(end), time).unwrap();
            assert_eq!((voided.kind, voided.body.len()), (EntryKind::Blank, 0));
            assert_eq!(voided.log_id, taken.log_id);
        }
    }

    #[test]
    fn an_entry_of_a_leader_goes_where_it_is_there_or_nowhere() {
        let stored = proposed(3).placed(Offset::new(3), Timestamp::new(0)).unwrap();
        let sent = LogEntry::stored(Entry { base_offset: Offset::new(3), ..stored });
        assert!(sent.clone().placed(Offset::new(3), Timestamp::new(0)).is_ok());
        assert!(sent.placed(Offset::new(4), Timestamp::new(0)).is_err());
    }
}

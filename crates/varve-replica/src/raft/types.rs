//! The types that consensus is instantiated with.

use super::answer::Answer;
use super::log_entry::LogEntry;
use super::proposal::Proposal;
use openraft::RaftTypeConfig;
use openraft::impls::leader_id_std::LeaderId;
use openraft::impls::{BoxedErrorSource, EntryPayload, InlineBatch};
use openraft::type_config::alias::{CommittedLeaderIdOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft_rt_tokio::TokioRuntime;
use varve_record::{Index, Offset, Term, Timestamp};

/// One configuration for every group. A leader is known by its term alone, as in the Raft paper: an entry's name on disk is a
/// term and an index. Where a node is found is not the group's business, so members have numbers and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Proposal;
    type R = Applied;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Proposal, u64, ()>;
    type Entry = LogEntry;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type LeaderTerm = CommittedLeaderIdOf<Types>;
pub(crate) type RaftLogId = LogIdOf<Types>;
pub(crate) type RaftVote = VoteOf<Types>;
pub(crate) type RaftMembership = openraft::Membership<u64, ()>;
pub(crate) type RaftStoredMembership = StoredMembershipOf<Types>;

/// What became of a committed proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was judged against a log that ended elsewhere than where it went, so it was not taken up.
    Void,
    /// It is in the log. Without records both offsets are the same.
    Done { first: Offset, next: Offset, append_time: Timestamp },
}

/// An entry's name as consensus has it.
pub(crate) fn to_raft(log_id: varve_storage::LogId) -> RaftLogId {
    RaftLogId::new(LeaderTerm::new(log_id.term.get()), log_id.index.get())
}

/// An entry's name as the log has it.
pub(crate) fn from_raft(log_id: &RaftLogId) -> varve_storage::LogId {
    varve_storage::LogId::new(Term::new(log_id.leader_id.term), Index::new(log_id.index))
}

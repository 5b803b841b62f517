//! What members of a group say to each other.

use super::types::{RaftVote, Types};
use crate::ProduceError;
use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use std::fmt::Debug;
use thiserror::Error;
use varve_record::{Index, NodeId, PartitionId};
use varve_storage::LogId;

/// A question of one member of a group to another. What is in it is consensus' business.
#[derive(Debug)]
pub struct PeerRequest {
    pub(crate) request: Request,
    traffic: PeerTraffic,
}

/// The answer to a [`PeerRequest`].
#[derive(Debug)]
pub struct PeerResponse(pub(crate) Response);

/// The kinds of requests. Each kind of connection carries some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerTraffic {
    /// Small and urgent: votes, heartbeats, transfers of leadership, read indexes.
    Control,
    /// Entries, and commands that are to become some.
    Data,
    /// A state to go on from.
    Snapshot,
}

#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot(RaftVote, SnapshotOf<Types, Bytes>),
    Transfer(TransferLeaderRequest<Types>),
    ReadIndex,
    /// A command, for the leader to commit.
    Propose(Bytes),
    /// Of many groups: appends without entries.
    Heartbeats(Vec<(PartitionId, AppendEntriesRequest<Types>)>),
}

#[derive(Debug)]
pub(crate) enum Response {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    /// Entries below it were committed when the question came in; `None` where the one asked does not lead.
    ReadIndex(Option<Index>),
    /// The command's entry once it is committed. What the leader cannot tell apart comes as an internal error.
    Proposed(Result<LogId, ProduceError>),
    /// In the order of the question; `None` of a group that gave no answer.
    Heartbeats(Vec<Option<AppendEntriesResponse<Types>>>),
}

impl PeerRequest {
    pub(crate) fn new(request: Request) -> Self {
        let traffic = match request {
            // Those without entries too: they must not overtake those with.
            Request::Append(_) | Request::Propose(_) => PeerTraffic::Data,
            Request::Snapshot(..) => PeerTraffic::Snapshot,
            Request::Vote(_)
            | Request::PreVote(_)
            | Request::Transfer(_)
            | Request::ReadIndex
            | Request::Heartbeats(_) => PeerTraffic::Control,
        };
        Self { request, traffic }
    }

    /// On which kind of connection it travels.
    #[must_use]
    pub fn traffic(&self) -> PeerTraffic {
        self.traffic
    }
}

/// A request that got no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PeerError {
    /// The peer cannot be reached now: it is not known whether the request arrived.
    #[error("node {node} cannot be reached: {reason}")]
    Unreachable {
        /// The peer.
        node: NodeId,
        /// Why not.
        reason: String,
    },
    /// The peer cannot be reached now, and nothing of the request was sent.
    #[error("node {node} cannot be reached, and was sent nothing: {reason}")]
    NotSent {
        /// The peer.
        node: NodeId,
        /// Why not.
        reason: String,
    },
    /// The peer has no such group, or not yet.
    #[error("there is no replica of partition {partition} here")]
    NoSuchGroup {
        /// The group.
        partition: PartitionId,
    },
    /// The peer's replica has stopped.
    #[error("the replica of partition {partition} has stopped: {reason}")]
    Stopped {
        /// The group.
        partition: PartitionId,
        /// Why.
        reason: String,
    },
}

/// Carries requests to other nodes. Those to one node about one group, and of one kind of traffic, should arrive in the order
/// in which the futures are first polled: out of order they are refused and sent again. An answer that does not come within
/// the sender's time is an error of its own; what is dropped unanswered is cancelled here, and may be carried out there.
pub trait PeerNetwork: Send + Sync + Debug + 'static {
    /// Asks another node's replica of a group.
    fn call(
        &self,
        to: NodeId,
        group: PartitionId,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerResponse, PeerError>>;
}

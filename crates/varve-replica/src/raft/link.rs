//! The way from a group's leader to one other member.

use super::hold_back::hold_back;
use super::peer::{PeerError, PeerRequest, PeerResponse, Request, Response};
use super::peers::Peers;
use super::silence::Silence;
use super::types::{RaftVote, Types};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use std::sync::Arc;
use std::time::Duration;
use varve_record::{NodeId, PartitionId};

/// Appends on their way to one member; each holds at most what a read gives, or one entry.
const APPENDS_IN_FLIGHT_MAX: usize = 8;
/// How long an append may take, the other's sync included.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a snapshot may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes links for one group.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) peers: Peers,
    pub(crate) group: PartitionId,
    pub(crate) silence: Arc<Silence>,
}

/// To one member of one group.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    peers: Peers,
    group: PartitionId,
    to: NodeId,
    silence: Arc<Silence>,
    /// What goes this way waits for no entries.
    heartbeats: bool,
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &()) -> Link {
        let (peers, silence) = (self.peers.clone(), Arc::clone(&self.silence));
        Link { peers, group: self.group, to: NodeId::new(target), silence, heartbeats: false }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &()) -> Link {
        Link { heartbeats: true, ..self.new_client(target, node).await }
    }
}

impl Link {
    /// As [`Link::call`], for what keeps others from electing another leader.
    fn lead(
        &self,
        request: PeerRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Response, PeerError>> {
        match self.silent() {
            Some(silent) => futures::future::ready(Err(silent)).boxed(),
            None => self.call(request, timeout),
        }
    }

    /// Why nothing is sent now, if nothing is.
    fn silent(&self) -> Option<PeerError> {
        self.silence.is_kept().then(|| {
            let reason = "no majority answers this leader, which is silent for a while".to_owned();
            PeerError::NotSent { node: self.to, reason }
        })
    }

    /// Asks, and gives up after a time.
    fn call(
        &self,
        request: PeerRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Response, PeerError>> {
        let to = self.to;
        let answer = self.peers.network().call(to, self.group, request);
        async move {
            match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer.map(|PeerResponse(response)| response),
                Err(_) => {
                    let reason = format!("no answer within {} ms", timeout.as_millis());
                    Err(PeerError::Unreachable { node: to, reason })
                }
            }
        }
        .boxed()
    }

    /// Sends a heartbeat, together with those of other groups.
    async fn heartbeat(
        self,
        request: AppendEntriesRequest<Types>,
        time_max: Duration,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = match self.silent() {
            Some(silent) => Err(silent),
            None => self.peers.heartbeat(self.to, self.group, request, time_max).await,
        };
        answer.map_err(|error| failed(Err(error)))
    }

    fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> impl Future<Output = Result<AppendEntriesResponse<Types>, RPCError<Types>>> + Send + use<> {
        let answer = self.lead(PeerRequest::new(Request::Append(request)), APPEND_TIMEOUT);
        async move {
            match answer.await {
                Ok(Response::Append(response)) => Ok(response),
                other => Err(failed(other)),
            }
        }
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.append(request).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let link = self.clone();
        if self.heartbeats {
            let answers = input.then(move |request| {
                let (previous, time_max) = (request.prev_log_id, option.hard_ttl());
                let answer = link.clone().heartbeat(request, time_max);
                async move { answer.await.map(|response| response.into_stream_result(previous, previous)) }
            });
            return futures::future::ready(Ok(answers.boxed())).boxed();
        }
        let answers = hold_back(input).map(move |request| {
            let previous = request.prev_log_id;
            let last = request.entries.last().map(RaftEntry::log_id).or(previous);
            let answer = link.append(request);
            async move { answer.await.map(|response| response.into_stream_result(previous, last)) }
        });
        // Answers come in the order of the requests; behind one that is no success nothing counts.
        let mut ended = false;
        let answers = answers.buffered(APPENDS_IN_FLIGHT_MAX).take_while(move |answer| {
            let goes_on = !ended;
            ended |= !matches!(answer, Ok(Ok(_)));
            futures::future::ready(goes_on)
        });
        futures::future::ready(Ok(answers.boxed())).boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(PeerRequest::new(Request::Vote(request)), option.soft_ttl()).await {
            Ok(Response::Vote(response)) => Ok(response),
            other => Err(failed(other)),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(PeerRequest::new(Request::PreVote(request)), option.soft_ttl()).await {
            Ok(Response::Vote(response)) => Ok(response),
            other => Err(failed(other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: SnapshotOf<Types, Bytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let answer = self.lead(PeerRequest::new(Request::Snapshot(vote, snapshot)), SNAPSHOT_TIMEOUT);
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            answer = answer => match answer {
                Ok(Response::Snapshot(response)) => Ok(response),
                other => Err(StreamingError::Unreachable(unreachable(other))),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.call(PeerRequest::new(Request::Transfer(request)), option.soft_ttl()).await {
            Ok(Response::Transfer(response)) => Ok(response),
            other => Err(failed(other)),
        }
    }
}

fn failed(answer: Result<Response, PeerError>) -> RPCError<Types> {
    RPCError::Unreachable(unreachable(answer))
}

fn unreachable(answer: Result<Response, PeerError>) -> Unreachable<Types> {
    match answer {
        Err(error) => Unreachable::new(&error),
        Ok(_) => Unreachable::from_string("the answer is to another question"),
    }
}

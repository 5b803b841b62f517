//! How members' questions and answers lie in bytes. `docs/peer-protocol.md` describes them.
//!
//! A question's entries come last, their heads before their bodies, so that the bodies are sent as they lie in memory and read
//! without a copy.

use super::commit_clock::Mark;
use super::heartbeats::HEARTBEATS_MAX;
use super::log_entry::LogEntry;
use super::membership;
use super::peer::{PeerError, PeerRequest, PeerResponse, Request, Response};
use super::types::{LeaderTerm, RaftLogId, RaftStoredMembership, RaftVote, Types};
use crate::ProduceError;
use crate::settings::COMMAND_BYTES_MAX;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::storage::{Snapshot, SnapshotMeta};
use std::sync::Arc;
use std::time::Instant;
use varve_record::{Index, NodeId, Offset, PartitionId, Term, Timestamp};
use varve_storage::{Entry, EntryKind, LogId};
use varve_telemetry::TraceContext;

/// Bytes of a place among the entries, and the trace of the entry there.
const TRACE_BYTES: usize = 4 + TraceContext::WIRE_BYTES;
const ENTRY_HEAD_BYTES: usize = 8 + 8 + 8 + 8 + 4 + 4 + 8;
/// Bytes of one heartbeat among many: group, vote and two log ids.
const HEARTBEAT_BYTES_MIN: usize = 8 + 17 + 1 + 1;
const HEARTBEAT_BYTES_MAX: usize = 8 + 17 + 17 + 17;
/// In the place of a group that gave no answer to its heartbeat.
const NO_ANSWER: u8 = 0;
/// Bytes of the reason in an error that is sent.
const REASON_BYTES_MAX: usize = 512;

impl PeerRequest {
    /// The request's bytes, in pieces to be sent one behind the other.
    #[must_use]
    pub fn encode(&self, group: PartitionId) -> Vec<Bytes> {
        let mut head = BytesMut::new();
        head.put_u64_le(group.get());
        let mut bodies = Vec::new();
        match &self.request {
            Request::Append(append) => {
                let traces = traces(&append.entries);
                if traces.is_empty() {
                    head.put_u8(1);
                } else {
                    head.put_u8(9);
                    put_traces(&mut head, &traces);
                }
                put_vote(&mut head, &append.vote);
                put_log_id(&mut head, append.prev_log_id.as_ref());
                put_log_id(&mut head, append.leader_commit.as_ref());
                put_entries(&mut head, &mut bodies, &append.entries);
            }
            Request::Vote(vote) => put_vote_request(&mut head, 2, vote),
            Request::PreVote(vote) => put_vote_request(&mut head, 3, vote),
            Request::Snapshot(vote, snapshot) => {
                head.put_u8(4);
                put_vote(&mut head, vote);
                put_log_id(&mut head, snapshot.meta.last_log_id.as_ref());
                put_membership(&mut head, &snapshot.meta.last_membership);
                bodies.push(snapshot.snapshot.clone());
            }
            Request::Transfer(transfer) => {
                head.put_u8(5);
                put_vote(&mut head, transfer.from_leader());
                head.put_u64_le(*transfer.to_node_id());
                put_log_id(&mut head, transfer.last_log_id());
            }
            Request::ReadIndex => head.put_u8(6),
            Request::Propose(command) => {
                head.put_u8(7);
                bodies.push(command.clone());
            }
            Request::Heartbeats(heartbeats) => {
                head.put_u8(8);
                put_heartbeats(&mut head, heartbeats);
            }
        }
        let mut pieces = vec![head.freeze()];
        pieces.append(&mut bodies);
        pieces
    }

    /// The group and the request in these bytes; `None` where they are malformed, or of a version that is not known here.
    #[must_use]
    pub fn decode(mut bytes: Bytes) -> Option<(PartitionId, Self)> {
        let bytes = &mut bytes;
        let group = PartitionId::new(u64_of(bytes)?);
        let request = match u8_of(bytes)? {
            1 => Request::Append(append_of(bytes)?),
            2 => Request::Vote(vote_request_of(bytes)?),
            3 => Request::PreVote(vote_request_of(bytes)?),
            4 => {
                let vote = vote_of(bytes)?;
                let meta =
                    SnapshotMeta { last_log_id: log_id_of(bytes)?, last_membership: membership_of(bytes)? };
                let snapshot = bytes.split_to(bytes.len());
                Request::Snapshot(vote, Snapshot { meta, snapshot })
            }
            5 => {
                let (from, to, last) = (vote_of(bytes)?, u64_of(bytes)?, log_id_of(bytes)?);
                Request::Transfer(TransferLeaderRequest::new(from, to, last))
            }
            6 => Request::ReadIndex,
            7 if bytes.len() <= COMMAND_BYTES_MAX => Request::Propose(bytes.split_to(bytes.len())),
            8 => Request::Heartbeats(heartbeats_of(bytes)?),
            9 => {
                let traces = traces_of(bytes)?;
                let mut append = append_of(bytes)?;
                attach(&mut append.entries, traces)?;
                Request::Append(append)
            }
            _ => return None,
        };
        bytes.is_empty().then_some((group, Self::new(request)))
    }
}

impl PeerResponse {
    /// The answer's bytes, or those that say why there is none.
    #[must_use]
    pub fn encode(answer: &Result<Self, PeerError>) -> Bytes {
        let mut out = BytesMut::new();
        match answer {
            Ok(Self(response)) => put_response(&mut out, response),
            Err(PeerError::NoSuchGroup { partition }) => {
                out.put_u8(0);
                out.put_u64_le(partition.get());
            }
            Err(PeerError::Stopped { partition, reason }) => {
                out.put_u8(255);
                out.put_u64_le(partition.get());
                put_reason(&mut out, reason);
            }
            Err(error @ (PeerError::Unreachable { .. } | PeerError::NotSent { .. })) => {
                out.put_u8(255);
                out.put_u64_le(0);
                put_reason(&mut out, &error.to_string());
            }
        }
        out.freeze()
    }

    /// The answer of `node` in these bytes.
    ///
    /// # Errors
    /// What the bytes say went wrong, or that they are malformed.
    pub fn decode(node: NodeId, mut bytes: Bytes) -> Result<Self, PeerError> {
        let malformed = || PeerError::Unreachable { node, reason: "its answer is malformed".to_owned() };
        let bytes = &mut bytes;
        let kind = u8_of(bytes).ok_or_else(malformed)?;
        if kind == 0 || kind == 255 {
            let partition = PartitionId::new(u64_of(bytes).ok_or_else(malformed)?);
            let reason = String::from_utf8_lossy(bytes).into_owned();
            return Err(match kind {
                0 => PeerError::NoSuchGroup { partition },
                _ => PeerError::Stopped { partition, reason },
            });
        }
        let response = response_of(kind, bytes).filter(|_| bytes.is_empty());
        response.map(Self).ok_or_else(malformed)
    }
}

fn put_response(out: &mut BytesMut, response: &Response) {
    match response {
        Response::Append(append) => {
            out.put_u8(1);
            put_appended(out, append);
        }
        Response::Vote(vote) => {
            out.put_u8(2);
            put_vote(out, &vote.vote);
            out.put_u8(u8::from(vote.vote_granted));
            put_log_id(out, vote.last_log_id.as_ref());
        }
        Response::Snapshot(snapshot) => {
            out.put_u8(3);
            put_vote(out, &snapshot.vote);
        }
        Response::Transfer(transfer) => {
            out.put_u8(4);
            match transfer {
                Ok(()) => out.put_u8(1),
                Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                    out.put_u8(2);
                    put_vote(out, expected);
                    put_vote(out, actual);
                }
                Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                    out.put_u8(3);
                    put_log_id(out, expected.as_ref());
                    put_log_id(out, actual.as_ref());
                }
            }
        }
        Response::ReadIndex(index) => {
            out.put_u8(5);
            out.put_u8(u8::from(index.is_some()));
            out.put_u64_le(index.map_or(0, Index::get));
        }
        Response::Proposed(outcome) => {
            out.put_u8(6);
            put_proposed(out, outcome);
        }
        Response::Heartbeats(answers) => {
            out.put_u8(7);
            put_count(out, answers.len());
            for answer in answers {
                match answer {
                    None => out.put_u8(NO_ANSWER),
                    Some(answer) => put_appended(out, answer),
                }
            }
        }
    }
}

fn put_appended(out: &mut BytesMut, append: &AppendEntriesResponse<Types>) {
    match append {
        AppendEntriesResponse::Success => out.put_u8(1),
        AppendEntriesResponse::PartialSuccess(last) => {
            out.put_u8(2);
            put_log_id(out, last.as_ref());
        }
        AppendEntriesResponse::Conflict => out.put_u8(3),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(4);
            put_vote(out, vote);
        }
    }
}

fn appended_of(kind: u8, bytes: &mut Bytes) -> Option<AppendEntriesResponse<Types>> {
    Some(match kind {
        1 => AppendEntriesResponse::Success,
        2 => AppendEntriesResponse::PartialSuccess(log_id_of(bytes)?),
        3 => AppendEntriesResponse::Conflict,
        4 => AppendEntriesResponse::HigherVote(vote_of(bytes)?),
        _ => return None,
    })
}

fn put_heartbeats(head: &mut BytesMut, heartbeats: &[(PartitionId, AppendEntriesRequest<Types>)]) {
    head.reserve(4 + heartbeats.len() * HEARTBEAT_BYTES_MAX);
    put_count(head, heartbeats.len());
    for (group, heartbeat) in heartbeats {
        head.put_u64_le(group.get());
        put_vote(head, &heartbeat.vote);
        put_log_id(head, heartbeat.prev_log_id.as_ref());
        put_log_id(head, heartbeat.leader_commit.as_ref());
    }
}

fn heartbeats_of(bytes: &mut Bytes) -> Option<Vec<(PartitionId, AppendEntriesRequest<Types>)>> {
    let count = u32_of(bytes)? as usize;
    if count > HEARTBEATS_MAX || bytes.len() / HEARTBEAT_BYTES_MIN < count {
        return None;
    }
    let mut heartbeats = Vec::with_capacity(count);
    for _ in 0..count {
        let group = PartitionId::new(u64_of(bytes)?);
        let (vote, prev_log_id, leader_commit) = (vote_of(bytes)?, log_id_of(bytes)?, log_id_of(bytes)?);
        heartbeats
            .push((group, AppendEntriesRequest { vote, prev_log_id, entries: Vec::new(), leader_commit }));
    }
    Some(heartbeats)
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(u32::try_from(count).expect("a frame holds fewer of anything"));
}

fn put_proposed(out: &mut BytesMut, outcome: &Result<LogId, ProduceError>) {
    match outcome {
        Ok(log_id) => {
            out.put_u8(1);
            out.put_u64_le(log_id.term.get());
            out.put_u64_le(log_id.index.get());
        }
        Err(ProduceError::NotLeader { leader }) => {
            out.put_u8(2);
            out.put_u8(u8::from(leader.is_some()));
            out.put_u64_le(leader.map_or(0, NodeId::get));
        }
        // A log that has stopped may have the entry.
        Err(ProduceError::CommitUnknown | ProduceError::Stopped(_)) => out.put_u8(3),
        Err(ProduceError::DiskFull) => out.put_u8(4),
        Err(ProduceError::Overloaded) => out.put_u8(5),
        Err(ProduceError::ShuttingDown) => out.put_u8(6),
        Err(ProduceError::Internal(reason)) => {
            out.put_u8(255);
            put_reason(out, reason);
        }
        Err(error) => {
            out.put_u8(255);
            put_reason(out, &error.to_string());
        }
    }
}

fn proposed_of(bytes: &mut Bytes) -> Option<Result<LogId, ProduceError>> {
    Some(match u8_of(bytes)? {
        1 => Ok(LogId::new(Term::new(u64_of(bytes)?), Index::new(u64_of(bytes)?))),
        2 => {
            let (is_there, node) = (bool_of(bytes)?, u64_of(bytes)?);
            Err(ProduceError::NotLeader { leader: is_there.then(|| NodeId::new(node)) })
        }
        3 => Err(ProduceError::CommitUnknown),
        4 => Err(ProduceError::DiskFull),
        5 => Err(ProduceError::Overloaded),
        6 => Err(ProduceError::ShuttingDown),
        255 => {
            let reason = bytes.split_to(bytes.len());
            Err(ProduceError::Internal(String::from_utf8_lossy(&reason).into_owned()))
        }
        _ => return None,
    })
}

fn response_of(kind: u8, bytes: &mut Bytes) -> Option<Response> {
    Some(match kind {
        1 => {
            let kind = u8_of(bytes)?;
            Response::Append(appended_of(kind, bytes)?)
        }
        2 => {
            let (vote, granted, last) = (vote_of(bytes)?, bool_of(bytes)?, log_id_of(bytes)?);
            Response::Vote(VoteResponse { vote, vote_granted: granted, last_log_id: last })
        }
        3 => Response::Snapshot(SnapshotResponse::new(vote_of(bytes)?)),
        4 => Response::Transfer(match u8_of(bytes)? {
            1 => Ok(()),
            2 => Err(TransferLeaderError::VoteChanged { expected: vote_of(bytes)?, actual: vote_of(bytes)? }),
            3 => Err(TransferLeaderError::LogNotFlushed {
                expected: log_id_of(bytes)?,
                actual: log_id_of(bytes)?,
            }),
            _ => return None,
        }),
        5 => {
            let (is_there, index) = (bool_of(bytes)?, u64_of(bytes)?);
            Response::ReadIndex(is_there.then(|| Index::new(index)))
        }
        6 => Response::Proposed(proposed_of(bytes)?),
        7 => {
            let count = u32_of(bytes)? as usize;
            if count > HEARTBEATS_MAX || bytes.len() < count {
                return None;
            }
            let mut answers = Vec::with_capacity(count);
            for _ in 0..count {
                answers.push(match u8_of(bytes)? {
                    NO_ANSWER => None,
                    kind => Some(appended_of(kind, bytes)?),
                });
            }
            Response::Heartbeats(answers)
        }
        _ => return None,
    })
}

fn put_reason(out: &mut BytesMut, reason: &str) {
    // Cut anywhere: whoever reads it mends what is no text.
    out.put_slice(&reason.as_bytes()[..reason.len().min(REASON_BYTES_MAX)]);
}

fn put_vote_request(out: &mut BytesMut, kind: u8, request: &VoteRequest<Types>) {
    out.put_u8(kind);
    put_vote(out, &request.vote);
    put_log_id(out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
}

fn vote_request_of(bytes: &mut Bytes) -> Option<VoteRequest<Types>> {
    let (vote, last_log_id, leadership_transfer) = (vote_of(bytes)?, log_id_of(bytes)?, bool_of(bytes)?);
    Some(VoteRequest { vote, last_log_id, leadership_transfer })
}

fn put_vote(out: &mut BytesMut, vote: &RaftVote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

fn vote_of(bytes: &mut Bytes) -> Option<RaftVote> {
    let leader_id = LeaderId { term: u64_of(bytes)?, voted_for: u64_of(bytes)? };
    Some(RaftVote { leader_id, committed: bool_of(bytes)? })
}

fn put_log_id(out: &mut BytesMut, log_id: Option<&RaftLogId>) {
    out.put_u8(u8::from(log_id.is_some()));
    if let Some(log_id) = log_id {
        out.put_u64_le(log_id.leader_id.term);
        out.put_u64_le(log_id.index);
    }
}

/// The outer `None` where the bytes are malformed.
fn log_id_of(bytes: &mut Bytes) -> Option<Option<RaftLogId>> {
    if !bool_of(bytes)? {
        return Some(None);
    }
    let term = LeaderTerm::new(u64_of(bytes)?);
    Some(Some(RaftLogId::new(term, u64_of(bytes)?)))
}

fn put_membership(out: &mut BytesMut, stored: &RaftStoredMembership) {
    put_log_id(out, stored.log_id().as_ref());
    let body = membership::encode(stored.membership());
    out.put_u32_le(u32::try_from(body.len()).expect("a group has few members"));
    out.put_slice(&body);
}

fn membership_of(bytes: &mut Bytes) -> Option<RaftStoredMembership> {
    let log_id = log_id_of(bytes)?;
    let len = u32_of(bytes)? as usize;
    if bytes.len() < len {
        return None;
    }
    let body = bytes.split_to(len);
    Some(RaftStoredMembership::new(log_id, membership::decode(&body)?))
}

fn append_of(bytes: &mut Bytes) -> Option<AppendEntriesRequest<Types>> {
    Some(AppendEntriesRequest {
        vote: vote_of(bytes)?,
        prev_log_id: log_id_of(bytes)?,
        leader_commit: log_id_of(bytes)?,
        entries: entries_of(bytes)?,
    })
}

/// Which of the entries are in a trace, by their place among them.
fn traces(entries: &[LogEntry]) -> Vec<(u32, TraceContext)> {
    let traced = |(at, entry): (u32, &LogEntry)| Some((at, entry.mark.as_ref()?.trace?));
    (0..).zip(entries).filter_map(traced).collect()
}

fn put_traces(head: &mut BytesMut, traces: &[(u32, TraceContext)]) {
    put_count(head, traces.len());
    for (at, trace) in traces {
        head.put_u32_le(*at);
        head.put_slice(&trace.to_wire());
    }
}

fn traces_of(bytes: &mut Bytes) -> Option<Vec<(u32, TraceContext)>> {
    let count = u32_of(bytes)? as usize;
    if bytes.len() / TRACE_BYTES < count {
        return None;
    }
    let one = |_| {
        let at = u32_of(bytes)?;
        let mut wire = [0; TraceContext::WIRE_BYTES];
        bytes.try_copy_to_slice(&mut wire).ok()?;
        Some((at, TraceContext::from_wire(wire)?))
    };
    (0..count).map(one).collect()
}

/// Gives entries the traces that came with them. They have just arrived.
fn attach(entries: &mut [LogEntry], traces: Vec<(u32, TraceContext)>) -> Option<()> {
    let since = Instant::now();
    for (at, trace) in traces {
        let entry = entries.get_mut(at as usize).filter(|entry| entry.mark.is_none())?;
        entry.mark = Some(Arc::new(Mark { since, trace: Some(trace) }));
    }
    Some(())
}

fn put_entries(head: &mut BytesMut, bodies: &mut Vec<Bytes>, entries: &[LogEntry]) {
    head.reserve(4 + entries.len() * ENTRY_HEAD_BYTES);
    head.put_u32_le(u32::try_from(entries.len()).expect("a frame holds fewer entries"));
    for LogEntry { entry, .. } in entries {
        head.put_u64_le(entry.log_id.term.get());
        head.put_u64_le(entry.log_id.index.get());
        head.put_i64_le(entry.append_time.get());
        head.put_u64_le(entry.base_offset.get());
        head.put_u32_le(entry.record_count);
        head.put_u32_le(u32::try_from(entry.body.len()).expect("a body is smaller"));
        head.put_u8(entry.kind as u8);
        head.put_bytes(0, 7);
        bodies.push(entry.body.clone());
    }
}

fn entries_of(bytes: &mut Bytes) -> Option<Vec<LogEntry>> {
    let count = u32_of(bytes)? as usize;
    if bytes.len() / ENTRY_HEAD_BYTES < count {
        return None;
    }
    let mut heads = bytes.split_to(count * ENTRY_HEAD_BYTES);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let (term, index) = (Term::new(u64_of(&mut heads)?), Index::new(u64_of(&mut heads)?));
        let append_time = Timestamp::new(heads.get_i64_le());
        let base_offset = Offset::new(u64_of(&mut heads)?);
        let (record_count, len) = (u32_of(&mut heads)?, u32_of(&mut heads)? as usize);
        let kind = kind_of(u8_of(&mut heads)?)?;
        heads.advance(7);
        // An offset beyond the greatest would stop the log that takes it.
        let sound = base_offset <= Offset::MAX && base_offset.checked_add(u64::from(record_count)).is_some();
        if !sound || bytes.len() < len || index.get() == u64::MAX {
            return None;
        }
        let body = bytes.split_to(len);
        if kind == EntryKind::Membership && membership::decode(&body).is_none() {
            return None;
        }
        let log_id = LogId::new(term, index);
        entries.push(LogEntry::stored(Entry { log_id, kind, append_time, base_offset, record_count, body }));
    }
    Some(entries)
}

fn kind_of(number: u8) -> Option<EntryKind> {
    let kinds =
        [EntryKind::Blank, EntryKind::Batch, EntryKind::Membership, EntryKind::Command, EntryKind::Trim];
    kinds.into_iter().find(|kind| *kind as u8 == number)
}

fn u8_of(bytes: &mut Bytes) -> Option<u8> {
    bytes.try_get_u8().ok()
}

fn u32_of(bytes: &mut Bytes) -> Option<u32> {
    bytes.try_get_u32_le().ok()
}

fn u64_of(bytes: &mut Bytes) -> Option<u64> {
    bytes.try_get_u64_le().ok()
}

fn bool_of(bytes: &mut Bytes) -> Option<bool> {
    match u8_of(bytes)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn log_id(term: u64, index: u64) -> RaftLogId {
        RaftLogId::new(LeaderTerm::new(term), index)
    }

    fn vote(committed: bool) -> RaftVote {
        RaftVote { leader_id: LeaderId { term: 5, voted_for: 2 }, committed }
    }

    fn members() -> super::super::types::RaftMembership {
        let nodes: BTreeMap<u64, ()> = [(1, ()), (2, ()), (3, ())].into();
        super::super::types::RaftMembership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap()
    }

    fn requests() -> Vec<PeerRequest> {
        let at = |index| LogId::new(Term::new(4), Index::new(index));
        let time = Timestamp::new(77);
        let entries = [
            Entry::blank(at(8), time),
            Entry::command(at(9), time, Bytes::from_static(b"command")),
            Entry::membership(at(10), time, membership::encode(&members())),
            Entry::trim(at(11), time, Offset::new(3)),
        ];
        let append = || AppendEntriesRequest {
            vote: vote(true),
            prev_log_id: Some(log_id(4, 7)),
            entries: entries.iter().cloned().map(LogEntry::stored).collect(),
            leader_commit: None,
        };
        let mut traced = append();
        let traces = [(1, TraceContext::new(7, 8).unwrap()), (3, TraceContext::new(7, 9).unwrap())];
        attach(&mut traced.entries, traces.to_vec()).unwrap();
        let request =
            || VoteRequest { vote: vote(false), last_log_id: Some(log_id(1, 2)), leadership_transfer: true };
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(4, 7)),
            last_membership: RaftStoredMembership::new(Some(log_id(1, 0)), members()),
        };
        let snapshot = Snapshot { meta, snapshot: Bytes::from_static(b"state") };
        let transfer = TransferLeaderRequest::new(vote(true), 3, None);
        let heartbeat = |prev_log_id, leader_commit| AppendEntriesRequest {
            vote: vote(true),
            prev_log_id,
            entries: Vec::new(),
            leader_commit,
        };
        let heartbeats = vec![
            (PartitionId::new(4), heartbeat(Some(log_id(4, 7)), Some(log_id(4, 6)))),
            (PartitionId::new(5), heartbeat(None, None)),
        ];
        let all = [
            Request::Append(append()),
            Request::Append(traced),
            Request::Vote(request()),
            Request::PreVote(request()),
            Request::Snapshot(vote(true), snapshot),
            Request::Transfer(transfer),
            Request::ReadIndex,
            Request::Propose(Bytes::from_static(b"command")),
            Request::Heartbeats(heartbeats),
            Request::Heartbeats(Vec::new()),
        ];
        all.into_iter().map(PeerRequest::new).collect()
    }

    fn responses() -> Vec<Result<PeerResponse, PeerError>> {
        let vote_response = VoteResponse { vote: vote(true), vote_granted: false, last_log_id: None };
        let not_flushed = TransferLeaderError::LogNotFlushed { expected: Some(log_id(1, 2)), actual: None };
        let changed = TransferLeaderError::VoteChanged { expected: vote(true), actual: vote(false) };
        let all = [
            Response::Append(AppendEntriesResponse::Success),
            Response::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2)))),
            Response::Append(AppendEntriesResponse::Conflict),
            Response::Append(AppendEntriesResponse::HigherVote(vote(false))),
            Response::Vote(vote_response),
            Response::Snapshot(SnapshotResponse::new(vote(true))),
            Response::Transfer(Ok(())),
            Response::Transfer(Err(not_flushed)),
            Response::Transfer(Err(changed)),
            Response::ReadIndex(Some(Index::new(9))),
            Response::ReadIndex(None),
            Response::Proposed(Ok(LogId::new(Term::new(3), Index::new(9)))),
            Response::Proposed(Err(ProduceError::NotLeader { leader: Some(NodeId::new(2)) })),
            Response::Proposed(Err(ProduceError::NotLeader { leader: None })),
            Response::Proposed(Err(ProduceError::CommitUnknown)),
            Response::Proposed(Err(ProduceError::DiskFull)),
            Response::Proposed(Err(ProduceError::Overloaded)),
            Response::Proposed(Err(ProduceError::ShuttingDown)),
            Response::Proposed(Err(ProduceError::Internal("it is no command".to_owned()))),
            Response::Heartbeats(vec![
                Some(AppendEntriesResponse::Success),
                None,
                Some(AppendEntriesResponse::HigherVote(vote(false))),
                Some(AppendEntriesResponse::Conflict),
            ]),
        ];
        let partition = PartitionId::new(3);
        let errors = [
            PeerError::NoSuchGroup { partition },
            PeerError::Stopped { partition, reason: "it was closed".to_owned() },
        ];
        all.into_iter()
            .map(|response| Ok(PeerResponse(response)))
            .chain(errors.into_iter().map(Err))
            .collect()
    }

    #[test]
    fn requests_read_as_they_are_written_and_no_part_of_one_does() {
        for request in requests() {
            let bytes = Bytes::from(request.encode(PartitionId::new(3)).concat());
            let (group, read) = PeerRequest::decode(bytes.clone()).unwrap();
            assert_eq!((group.get(), format!("{read:?}")), (3, format!("{request:?}")));
            assert_eq!(read.encode(group).concat(), bytes);
            // A state and a command reach to the end, and have checks of their own.
            let shortest = match &request.request {
                Request::Snapshot(..) => bytes.len() - "state".len(),
                Request::Propose(command) => bytes.len() - command.len(),
                _ => bytes.len(),
            };
            for len in 0..shortest {
                assert!(PeerRequest::decode(bytes.slice(..len)).is_none(), "{request:?} cut at {len}");
            }
        }
    }

    #[test]
    fn traces_come_with_the_entries_that_they_are_of_or_not_at_all() {
        let bytes = requests()[1].encode(PartitionId::new(3)).concat();
        let (_, read) = PeerRequest::decode(bytes.clone().into()).unwrap();
        let Request::Append(append) = read.request else { panic!("an append") };
        let spans: Vec<_> =
            append.entries.iter().map(|entry| Some(entry.mark.as_ref()?.trace?.span_id())).collect();
        assert_eq!(spans, [None, Some(8), None, Some(9)]);
        // Behind the group, the kind and the count lies the first place.
        let with_place = |place: u8| {
            let mut bytes = bytes.clone();
            bytes[8 + 1 + 4] = place;
            PeerRequest::decode(bytes.into()).is_some()
        };
        assert!(with_place(0) && !with_place(3) && !with_place(4));
    }

    #[test]
    fn responses_read_as_they_are_written() {
        for response in responses() {
            let bytes = PeerResponse::encode(&response);
            let read = PeerResponse::decode(NodeId::new(2), bytes);
            assert_eq!(format!("{read:?}"), format!("{response:?}"));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic() {
        for request in requests() {
            let bytes = request.encode(PartitionId::new(3)).concat();
            for at in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    drop(PeerRequest::decode(damaged.clone().into()));
                    drop(PeerResponse::decode(NodeId::new(1), damaged.into()));
                }
            }
        }
    }
}

//! How a command gets into the log, from any member.
//!
//! The leader commits it; who does not lead hands its bytes to the leader, and is told the entry. A command that was certainly
//! not appended is tried again for a while; one of which nobody can say is never tried twice.

use super::answer::Answer;
use super::group::Group;
use super::peer::{PeerError, PeerRequest, PeerResponse, Request, Response};
use super::proposal::Proposal;
use super::types::{Types, from_raft};
use crate::ProduceError;
use crate::settings::COMMAND_BYTES_MAX;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use varve_record::{NodeId, Term, Timestamp};
use varve_storage::{EntryKind, LogId};

/// Commands of one group that this node has handed to the leader and that are not answered. Far below what a connection
/// carries at a time: others' entries travel there too.
pub(super) const HANDED_OVER_MAX: usize = 32;
/// How long a leader is looked for, before whoever proposes is sent away.
const LOOK_TIME_MAX: Duration = Duration::from_secs(4);
/// The pauses between tries meanwhile: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(80);
/// How long the leader may take to commit what it was handed, and how long its answer is waited for.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(4);
const HANDED_OVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long this member may take to apply what is committed.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one that led waits for others to settle what it had proposed.
const FATE_TIMEOUT: Duration = Duration::from_secs(1);

impl Group {
    /// Commits a command, and gives its entry once it is applied here.
    ///
    /// # Errors
    /// Why it was refused, that nobody leads, or that nobody can say.
    pub(crate) fn propose_command(&self, body: Bytes) -> BoxFuture<'_, Result<LogId, ProduceError>> {
        async move {
            if body.len() > COMMAND_BYTES_MAX {
                return Err(ProduceError::TooLarge { size_bytes: body.len(), max_bytes: COMMAND_BYTES_MAX });
            }
            let (since, mut pause) = (Instant::now(), PAUSE_MIN);
            let log_id = loop {
                match self.try_command(body.clone()).await {
                    Err(ProduceError::NotLeader { .. }) if since.elapsed() < LOOK_TIME_MAX => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                    outcome => break outcome?,
                }
            };
            let mut applied = self.state().subscribe();
            let applied = applied.wait_for(|state| state.stopped || state.next_index > log_id.index);
            match tokio::time::timeout(APPLY_TIMEOUT, applied).await {
                Ok(Ok(state)) if state.next_index > log_id.index => Ok(log_id),
                _ => Err(ProduceError::CommitUnknown),
            }
        }
        .boxed()
    }

    /// Commits another member's command, where this one leads.
    pub(super) async fn commit_for_another(&self, body: Bytes) -> Result<LogId, ProduceError> {
        match self.leading() {
            Some(term) => {
                let committed = self.commit_command(term, body);
                tokio::time::timeout(COMMIT_TIMEOUT, committed)
                    .await
                    .unwrap_or(Err(ProduceError::CommitUnknown))
            }
            None => Err(ProduceError::NotLeader { leader: self.leader() }),
        }
    }

    /// One try. A command that was not appended, and may be tried again, is answered with "not leader".
    async fn try_command(&self, body: Bytes) -> Result<LogId, ProduceError> {
        match (self.leading(), self.leader()) {
            _ if self.has_stopped() => Err(ProduceError::ShuttingDown),
            (Some(term), _) => self.commit_command(term, body).await,
            (None, Some(leader)) if leader != self.node() => self.hand_over(leader, body).await,
            (None, leader) => Err(ProduceError::NotLeader { leader }),
        }
    }

    /// Commits a command in this node's leadership.
    async fn commit_command(&self, term: Term, body: Bytes) -> Result<LogId, ProduceError> {
        self.check_command(&body)?;
        let append_time = Timestamp::new(self.clock().now_unix_ms());
        let proposal = Proposal { kind: EntryKind::Command, append_time, expected: None, body, mark: None };
        let (sender, mut outcome) = oneshot::channel::<ClientWriteResult<Types>>();
        let answer = Answer::new(move |result| drop(sender.send(result)));
        if self.raft().write(proposal).responder(answer).with_leader(term.get()).await.is_err() {
            return Err(self.unknown());
        }
        let outcome = tokio::select! {
            biased;
            outcome = &mut outcome => outcome,
            () = self.leadership_lost(term) => match tokio::time::timeout(FATE_TIMEOUT, outcome).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(ProduceError::CommitUnknown),
            },
        };
        match outcome {
            Ok(Ok(response)) => Ok(from_raft(&response.log_id)),
            // Refused before it was appended.
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProduceError::NotLeader { leader: forward.leader_id.map(NodeId::new) })
            }
            Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(ProduceError::CommitUnknown),
            Ok(Err(error)) => Err(ProduceError::Internal(error.to_string())),
            Err(_) => Err(self.unknown()),
        }
    }

    /// What every member could not take over would stop them all.
    fn check_command(&self, body: &Bytes) -> Result<(), ProduceError> {
        let check = self.command_check().ok_or_else(|| {
            ProduceError::Internal("the partition holds records, and takes no commands".to_owned())
        })?;
        check(body).map_err(|reason| {
            ProduceError::Internal(format!("the leader does not know the command: {reason}"))
        })
    }

    async fn hand_over(&self, leader: NodeId, body: Bytes) -> Result<LogId, ProduceError> {
        let _room = self.handed_over().acquire().await.map_err(|_| ProduceError::ShuttingDown)?;
        let answer = self.ask(leader, PeerRequest::new(Request::Propose(body)));
        match tokio::time::timeout(HANDED_OVER_TIMEOUT, answer).await {
            Ok(Ok(PeerResponse(Response::Proposed(outcome)))) => outcome,
            Ok(Err(PeerError::NotSent { .. } | PeerError::NoSuchGroup { .. })) => {
                Err(ProduceError::NotLeader { leader: Some(leader) })
            }
            // It could not read the question.
            Ok(Err(PeerError::Stopped { reason, .. })) => Err(ProduceError::Internal(reason)),
            Ok(Ok(_) | Err(PeerError::Unreachable { .. })) | Err(_) => Err(ProduceError::CommitUnknown),
        }
    }

    /// Why nobody can say what became of a proposal.
    fn unknown(&self) -> ProduceError {
        self.log().stopped().map_or(ProduceError::CommitUnknown, ProduceError::Stopped)
    }
}

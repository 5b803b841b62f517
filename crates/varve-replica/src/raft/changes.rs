//! Changes of who belongs to a group and who leads it, and what its leader knows of the others.

use super::group::Group;
use super::types::Types;
use crate::{FollowerState, GroupError};
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::ChangeMembers;
use openraft::async_runtime::instant::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use varve_record::{Index, NodeId, Term};

/// A voter that lacks more entries is not asked to lead: while it gets them nobody takes new ones.
const TRANSFER_LAG_MAX: u64 = 1024;
/// How long one that led waits to be told what became of a change.
const FATE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a change is tried again that comes too early, and the pauses between.
const EARLY_TIME_MAX: Duration = Duration::from_secs(2);
const EARLY_PAUSE: Duration = Duration::from_millis(10);

impl Group {
    /// What the leader knows of the other members.
    pub(crate) fn followers(&self) -> BTreeMap<NodeId, FollowerState> {
        if self.leading().is_none() {
            return BTreeMap::new();
        }
        let last = self.log().last_log_id().map(|last| last.index);
        let metrics = self.raft().data_metrics();
        let metrics = metrics.borrow_watched();
        let Some(replication) = &metrics.replication else { return BTreeMap::new() };
        let answered = metrics.heartbeat.as_ref();
        let others = replication.iter().filter(|(node, _)| **node != self.node().get());
        let state = |(node, matched): (&u64, &Option<_>)| {
            let matched = matched.as_ref().map(|matched: &super::types::RaftLogId| Index::new(matched.index));
            let answered = answered.and_then(|answered| answered.get(node).copied().flatten());
            let state = FollowerState {
                matched,
                lag_entries: lag_entries(last, matched),
                silent_for: answered.map(|answered| answered.elapsed()),
            };
            (NodeId::new(*node), state)
        };
        others.map(state).collect()
    }

    /// Makes another voter the leader: this one, or where none is named the one that has most of those that answer.
    pub(crate) async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), GroupError> {
        self.lead_here()?;
        if to == Some(self.node()) {
            return Ok(());
        }
        let voters = self.members().voters;
        let followers = self.followers();
        let is_fit = |node: NodeId, state: &FollowerState| {
            let answers = state.silent_for.is_some_and(|silent| silent < self.alone_max());
            voters.contains(&node) && answers && state.lag_entries <= TRANSFER_LAG_MAX
        };
        let fit = followers.iter().filter(|(node, state)| is_fit(**node, state));
        let to = match to {
            Some(to) => fit.map(|(node, _)| *node).find(|node| *node == to),
            None => fit.min_by_key(|(_, state)| state.lag_entries).map(|(node, _)| *node),
        };
        let refused = || GroupError::Refused {
            reason: "it is no voter that answers and has nearly all of the log".to_owned(),
        };
        let to = to.ok_or_else(refused)?;
        self.raft().trigger().transfer_leader(to.get()).await.map_err(|_| GroupError::Stopped)
    }

    /// Adds a member that does not vote, and waits until it has caught up: until it has got, within an election timeout, all
    /// that was in the log when a round began (Ongaro's thesis, 4.2.1). One that is a member is waited for alone.
    pub(crate) async fn add_learner(&self, node: NodeId) -> Result<(), GroupError> {
        let term = self.lead_here()?;
        let members = self.members();
        let is_member = members.voters.contains(&node) || members.learners.contains(&node);
        if !is_member || !self.members_are_committed() {
            self.change(term, ChangeMembers::AddNodes(BTreeMap::from([(node.get(), ())]))).await?;
        }
        loop {
            let (began, end) = (Instant::now(), self.log().last_log_id().map(|last| last.index));
            tokio::select! {
                biased;
                caught_up = self.until_matched(node, end) => caught_up?,
                () = self.leadership_lost(term) => return Err(self.lost()),
            }
            if began.elapsed() < self.round_max() {
                return Ok(());
            }
        }
    }

    /// Makes these nodes the voters, in one joint change. Each must be a member that has something of the log. Who was a voter
    /// and is none any more leaves. Where an earlier change has stopped half way, the same change takes it on.
    pub(crate) async fn change_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), GroupError> {
        let term = self.lead_here()?;
        let (members, followers) = (self.members(), self.followers());
        if members.voters == *voters && !members.changing && self.members_are_committed() {
            return Ok(());
        }
        let is_empty = |node: &NodeId| followers.get(node).is_none_or(|state| state.matched.is_none());
        if let Some(empty) = voters.difference(&members.voters).find(|node| is_empty(node)) {
            return Err(GroupError::Refused {
                reason: format!("node {empty} has nothing of the log yet: add it as a learner first"),
            });
        }
        let voters: BTreeSet<u64> = voters.iter().map(|node| node.get()).collect();
        self.change(term, ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Takes a member away that does not vote.
    pub(crate) async fn remove_learner(&self, node: NodeId) -> Result<(), GroupError> {
        let term = self.lead_here()?;
        self.change(term, ChangeMembers::RemoveNodes(BTreeSet::from([node.get()]))).await
    }

    /// Whether the members that are in force can no longer be taken back.
    fn members_are_committed(&self) -> bool {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.log_id() == metrics.committed_membership_config.log_id()
    }

    /// Whether this node votes, or did before the change that is under way. A leader that has taken itself out leads until
    /// the others know, and consensus panics where such a one changes the members once more.
    fn votes(&self) -> bool {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().any(|node| node == self.node().get())
    }

    fn lead_here(&self) -> Result<Term, GroupError> {
        if self.has_stopped() {
            return Err(GroupError::Stopped);
        }
        self.leading().ok_or_else(|| GroupError::NotLeader { leader: self.leader() })
    }

    /// Makes a change. It goes on though nobody waits for it any more: half of one is no state to leave a group in. A leader
    /// that is new is given some time to find out what was committed before it.
    fn change(&self, term: Term, change: ChangeMembers<u64, ()>) -> BoxFuture<'_, Result<(), GroupError>> {
        async move {
            let since = Instant::now();
            loop {
                if !self.votes() {
                    return Err(GroupError::NotLeader { leader: None });
                }
                let raft = self.raft().clone();
                let change = change.clone();
                let mut changed = tokio::spawn(async move { raft.change_membership(change, false).await });
                let changed = tokio::select! {
                    biased;
                    changed = &mut changed => changed,
                    () = self.leadership_lost(term) => match tokio::time::timeout(FATE_TIMEOUT, changed).await {
                        Ok(changed) => changed,
                        Err(_) => return Err(GroupError::Unknown),
                    },
                };
                match changed {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) if is_early(&error) && since.elapsed() < EARLY_TIME_MAX => {
                        self.lead_here()?;
                        tokio::time::sleep(EARLY_PAUSE).await;
                    }
                    Ok(Err(error)) => return Err(refusal(error)),
                    Err(_) => return Err(GroupError::Unknown),
                }
            }
        }
        .boxed()
    }

    /// Returns once a member has all entries up to `end`, as far as this leader knows.
    async fn until_matched(&self, node: NodeId, end: Option<Index>) -> Result<(), GroupError> {
        let mut metrics = self.raft().data_metrics();
        loop {
            let has_it = self.node() == node
                || metrics.borrow_and_update().replication.as_ref().is_some_and(|replication| {
                    let matched = replication.get(&node.get()).copied().flatten();
                    matched.map(|matched| Index::new(matched.index)) >= end
                });
            if has_it {
                return Ok(());
            }
            metrics.changed().await.map_err(|_| GroupError::Stopped)?;
        }
    }

    /// Why a wait is over for one that led.
    fn lost(&self) -> GroupError {
        if self.has_stopped() { GroupError::Stopped } else { GroupError::NotLeader { leader: self.leader() } }
    }
}

fn lag_entries(last: Option<Index>, matched: Option<Index>) -> u64 {
    let count = |last: Option<Index>| last.map_or(0, |last| last.next().get());
    count(last).saturating_sub(count(matched))
}

/// Whether nothing was changed because the leader does not know yet what it may do, or an earlier change is not committed.
fn is_early(error: &RaftError<Types, ClientWriteError<Types>>) -> bool {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            forward.reason == ForwardReason::LeaseExpired
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(
            _,
        ))) => true,
        _ => false,
    }
}

fn refusal(error: RaftError<Types, ClientWriteError<Types>>) -> GroupError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, .. })) => {
            GroupError::NotLeader { leader: leader_id.map(NodeId::new) }
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => GroupError::Unknown,
        RaftError::APIError(error) => GroupError::Refused { reason: error.to_string() },
        RaftError::Fatal(_) => GroupError::Stopped,
    }
}

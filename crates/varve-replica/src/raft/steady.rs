//! What a leader has said, and says again.
//!
//! An idle leader's heartbeats are all alike, and so are the answers. One that says what consensus has agreed to is answered at
//! once, without it. The answer means what it would mean if consensus gave it: that this replica has what the leader takes it to
//! have, and has promised its vote to nobody else so far. The store knows of each promise before anyone does who could be told
//! of it, and of whatever takes entries back. Consensus is asked all the same, now and then, and not waited for: it has to hear
//! its leader too, or would let others be elected.

use super::types::{RaftLogId, RaftVote, Types};
use openraft::raft::AppendEntriesRequest;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Counts what makes earlier answers void: votes that are about to be saved, and entries that are about to be taken back.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Arc<AtomicU64>);

impl Changes {
    /// Something is about to change: nothing of it is done yet.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the leader said last, and consensus agreed to. A clone is another handle.
#[derive(Clone, Debug)]
pub(super) struct Steady(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    changes: Changes,
    /// How old an answer of consensus may be before it is asked again, and before it no longer counts.
    age_max: Duration,
    valid_max: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    agreed: Option<Agreed>,
    /// Consensus has been asked, and has not answered yet.
    is_asked: bool,
}

#[derive(Debug)]
struct Agreed {
    said: Said,
    /// The changes before consensus was asked, and when that was.
    changes: u64,
    at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    vote: RaftVote,
    prev_log_id: Option<RaftLogId>,
    leader_commit: Option<RaftLogId>,
}

impl Said {
    fn by(heartbeat: &AppendEntriesRequest<Types>) -> Self {
        let AppendEntriesRequest { vote, prev_log_id, leader_commit, .. } = heartbeat;
        Self { vote: *vote, prev_log_id: *prev_log_id, leader_commit: *leader_commit }
    }
}

/// What is to be done about a heartbeat.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Consensus has agreed to the same before, and would again.
    pub(super) is_agreed: bool,
    /// Consensus is to be asked.
    pub(super) asking: Option<Asking>,
}

/// Consensus is being asked about a heartbeat, about one at a time. Dropped, it is not waited for any longer.
#[derive(Debug)]
pub(super) struct Asking {
    steady: Steady,
    said: Said,
    changes: u64,
    at: Instant,
}

impl Steady {
    /// Consensus is asked again after `age_max`, and has to be waited for after `valid_max`.
    pub(super) fn new(changes: Changes, age_max: Duration, valid_max: Duration) -> Self {
        Self(Arc::new(Inner { changes, age_max, valid_max, state: Mutex::default() }))
    }

    pub(super) fn hear(&self, heartbeat: &AppendEntriesRequest<Types>) -> Heard {
        let (said, changes, at) = (Said::by(heartbeat), self.0.changes.count(), Instant::now());
        let mut state = self.lock();
        let age = state.agreed.as_ref().and_then(|agreed| {
            (agreed.said == said && agreed.changes == changes)
                .then(|| at.saturating_duration_since(agreed.at))
        });
        let is_agreed = age.is_some_and(|age| age < self.0.valid_max);
        if age.is_some_and(|age| age < self.0.age_max) || std::mem::replace(&mut state.is_asked, true) {
            return Heard { is_agreed, asking: None };
        }
        Heard { is_agreed, asking: Some(Asking { steady: self.clone(), said, changes, at }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Consensus has agreed: heartbeats that say the same are answered without it for a while.
    pub(super) fn agreed(self) {
        let agreed = Agreed { said: self.said.clone(), changes: self.changes, at: self.at };
        self.steady.lock().agreed = Some(agreed);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.steady.lock().is_asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::to_raft;
    use super::*;
    use openraft::impls::leader_id_std::LeaderId;
    use tokio::time::advance;
    use varve_record::{Index, Term};
    use varve_storage::LogId;

    const AGE_MAX: Duration = Duration::from_millis(100);
    const VALID_MAX: Duration = Duration::from_millis(400);

    fn steady(changes: &Changes) -> Steady {
        Steady::new(changes.clone(), AGE_MAX, VALID_MAX)
    }

    fn heartbeat(term: u64, committed: u64) -> AppendEntriesRequest<Types> {
        let vote = RaftVote { leader_id: LeaderId { term, voted_for: 1 }, committed: true };
        let log_id = to_raft(LogId::new(Term::new(1), Index::new(committed)));
        let (prev_log_id, leader_commit) = (Some(log_id), Some(log_id));
        AppendEntriesRequest { vote, prev_log_id, entries: Vec::new(), leader_commit }
    }

    fn agree(steady: &Steady, heartbeat: &AppendEntriesRequest<Types>) {
        steady.hear(heartbeat).asking.expect("consensus is to be asked").agreed();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_again_is_agreed_to_and_asked_about_now_and_then() {
        let steady = steady(&Changes::default());
        assert!(!steady.hear(&heartbeat(1, 5)).is_agreed);
        agree(&steady, &heartbeat(1, 5));
        for _ in 0..3 {
            let heard = steady.hear(&heartbeat(1, 5));
            assert!(heard.is_agreed && heard.asking.is_none());
            advance(AGE_MAX).await;
            let heard = steady.hear(&heartbeat(1, 5));
            assert!(heard.is_agreed);
            heard.asking.expect("consensus has not heard its leader for a while").agreed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_consensus_did_not_say_for_long_does_not_count() {
        let steady = steady(&Changes::default());
        agree(&steady, &heartbeat(1, 5));
        advance(AGE_MAX).await;
        let asking = steady.hear(&heartbeat(1, 5)).asking;
        advance(VALID_MAX - AGE_MAX).await;
        assert!(!steady.hear(&heartbeat(1, 5)).is_agreed);
        asking.expect("consensus is being asked").agreed();
        assert!(steady.hear(&heartbeat(1, 5)).is_agreed, "it counts from when consensus was asked on");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_new_is_not_agreed_to() {
        let steady = steady(&Changes::default());
        agree(&steady, &heartbeat(1, 5));
        assert!(!steady.hear(&heartbeat(2, 5)).is_agreed);
        assert!(!steady.hear(&heartbeat(1, 6)).is_agreed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vote_that_is_about_to_be_saved_ends_what_was_agreed() {
        let changes = Changes::default();
        let steady = steady(&changes);
        agree(&steady, &heartbeat(1, 5));
        changes.note();
        let heard = steady.hear(&heartbeat(1, 5));
        assert!(!heard.is_agreed, "the vote came behind");
        changes.note();
        heard.asking.expect("consensus is to be asked").agreed();
        assert!(!steady.hear(&heartbeat(1, 5)).is_agreed, "the vote came while consensus was asked");
    }

    #[tokio::test(start_paused = true)]
    async fn consensus_is_asked_one_thing_at_a_time() {
        let steady = steady(&Changes::default());
        let asking = steady.hear(&heartbeat(1, 5)).asking;
        assert!(asking.is_some() && steady.hear(&heartbeat(1, 5)).asking.is_none());
        drop(asking);
        agree(&steady, &heartbeat(1, 5));
    }
}

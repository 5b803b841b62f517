//! Who leads, and whether a leader still may.
//!
//! Consensus has a leader that nobody answers go on calling itself one: it can commit nothing, so that this is safe, but those
//! who ask it would wait for ever. Here it leads only while a majority has answered it within a time.

use super::group::Group;
use super::silence::Silence;
use super::types::Types;
use openraft::async_runtime::instant::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::type_config::alias::WatchReceiverOf;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use varve_record::{NodeId, Term};

/// Who leads, as far as a replica knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// Who leads. Nobody, where this replica does by its own account and no majority answers it.
    pub(crate) leader: Option<NodeId>,
    /// The term that this replica is in.
    pub(crate) term: Term,
}

impl Leadership {
    /// The term in which `node` leads.
    pub(crate) fn led_by(&self, node: NodeId) -> Option<Term> {
        (self.leader == Some(node)).then_some(self.term)
    }
}

/// Tells who leads by what consensus says of itself.
struct Observer {
    node: NodeId,
    /// How long a leader leads that no majority answers.
    alone_max: Duration,
    /// The term in which consensus says that this replica leads, and since when.
    since: Option<(Term, Instant)>,
}

/// What was seen, and when to look again if nothing changes.
struct Seen {
    leadership: Leadership,
    again: Option<Instant>,
    /// No majority answers: whether one does again is told by other metrics than the rest.
    is_alone: bool,
}

impl Observer {
    fn look(
        &mut self,
        server: &RaftServerMetrics<Types>,
        data: &RaftDataMetrics<Types>,
        now: Instant,
    ) -> Seen {
        let term = Term::new(server.vote.leader_id.term);
        let leader = server.current_leader.map(NodeId::new);
        let claims = server.state.is_leader()
            && server.vote.committed
            && server.vote.leader_id.voted_for == self.node.get();
        if !claims {
            self.since = None;
            // Of itself it says so a moment before it does.
            let leader = leader.filter(|leader| *leader != self.node);
            return Seen { leadership: Leadership { leader, term }, again: None, is_alone: false };
        }
        let since = match self.since {
            Some((held, since)) if held == term => since,
            _ => now,
        };
        self.since = Some((term, since));
        let this = Some(self.node);
        let membership = server.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        if voters == BTreeSet::from([self.node.get()]) {
            return Seen { leadership: Leadership { leader: this, term }, again: None, is_alone: false };
        }
        let leading = now.saturating_duration_since(since);
        let silence = data.last_quorum_acked.map_or(leading, |answered| answered.elapsed().min(leading));
        let again = self.alone_max.checked_sub(silence).filter(|left| !left.is_zero()).map(|left| now + left);
        let leader = this.filter(|_| again.is_some());
        Seen { leadership: Leadership { leader, term }, again, is_alone: again.is_none() }
    }
}

/// Keeps known who leads, for as long as consensus runs.
pub(super) async fn observe(
    group: Weak<Group>,
    mut server: WatchReceiverOf<Types, RaftServerMetrics<Types>>,
    mut data: WatchReceiverOf<Types, RaftDataMetrics<Types>>,
    alone_max: Duration,
    silence: Arc<Silence>,
) {
    let Some(node) = group.upgrade().map(|group| group.node()) else { return };
    let mut observer = Observer { node, alone_max, since: None };
    loop {
        let seen = {
            let Some(group) = group.upgrade() else { return };
            let seen = observer.look(&server.borrow_and_update(), &data.borrow_and_update(), Instant::now());
            silence.set_alone(seen.is_alone);
            group.set_leadership(seen.leadership);
            seen
        };
        let again = async {
            match seen.again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let runs = tokio::select! {
            changed = server.changed() => changed.is_ok(),
            changed = data.changed(), if seen.is_alone => changed.is_ok(),
            () = again => true,
        };
        if !runs {
            break;
        }
    }
    if let Some(group) = group.upgrade() {
        group.set_stopped();
    }
}

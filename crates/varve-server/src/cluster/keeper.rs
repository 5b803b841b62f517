//! What the controller's leader does for the cluster: seats in the controller's group, and replicas where they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use varve_controller::{Liveness, NodeState, controller_voters, plan};
use varve_record::NodeId;
use varve_replica::{FollowerState, GroupError, GroupMembers};

use super::ClusterView;
use super::address_book::changed;

/// How often the cluster is looked over where nothing changes.
const ROUND: Duration = Duration::from_millis(500);

/// The pause between two rounds, however often something changes: a round looks at every partition.
const PAUSE: Duration = Duration::from_millis(50);

/// How long one change of the controller's group, or of the metadata, may take before it is tried again.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that gossips is reached as long as it has answered the controller's leader so short a time ago.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// How long a node that gossips may not be reached before it counts as one that does not run: a wrong address, or a firewall
/// between, must hold up nobody else.
const UNREACHED_MAX: Duration = Duration::from_secs(5);

/// How long a node that gossips, and has never answered this leader, may take until it counts as gone: nothing waits for it any
/// more.
const NEVER_REACHED_MAX: Duration = Duration::from_secs(20);

/// A node that lacks more entries of the controller's log gets no vote yet.
const VOTER_LAG_MAX: u64 = 1024;

/// Keeps the cluster as it should be while this node leads the controller, for ever. A node that is away for
/// `replacement_delay` is replaced.
pub(crate) async fn keep(view: ClusterView, replacement_delay: Duration) {
    let (absences, silences) = (Absences::default(), Absences::default());
    let mut keeper = Keeper { view: view.clone(), absences, silences, seating: None };
    let (mut metadata, mut presence) = (view.metadata.follow(), view.presence.changes());
    loop {
        metadata.borrow_and_update();
        presence.borrow_and_update();
        keeper.round(replacement_delay).await;
        sleep(PAUSE).await;
        tokio::select! {
            changed = metadata.changed() => if changed.is_err() { return },
            () = changed(&mut presence) => {}
            () = keeper.seated() => {}
            () = sleep(ROUND) => {}
        }
    }
}

#[derive(Debug)]
struct Keeper {
    view: ClusterView,
    absences: Absences,
    /// Of those that gossip, who does not answer this leader.
    silences: Absences,
    /// The change of the controller's group that is under way.
    /// Says whether it was made.
    seating: Option<JoinHandle<bool>>,
}

impl Keeper {
    /// Returns once the change that is under way is made: the next may be due. One that was not made is looked at again in the
    /// next round.
    async fn seated(&mut self) {
        let made = match &mut self.seating {
            Some(seating) => seating.await.unwrap_or(false),
            None => false,
        };
        self.seating = None;
        if !made {
            std::future::pending::<()>().await;
        }
    }

    async fn round(&mut self, replacement_delay: Duration) {
        let view = &self.view;
        if view.controller_leader() != Some(view.this()) {
            self.absences = Absences::default();
            self.silences = Absences::default();
            return;
        }
        let state = view.state();
        let known: BTreeSet<NodeId> = state.0.nodes().map(|node| node.id).collect();
        let followers = view.metadata.followers();
        let answers = |node: &NodeId| *node == view.this() || followers.get(node).is_some_and(is_reached);
        let mut liveness = view.liveness();
        let gossiping = liveness.alive.clone();
        let silent = gossiping.iter().copied().filter(|node| !answers(node)).collect();
        self.silences.note(&silent);
        for node in self.silences.longer_than(UNREACHED_MAX) {
            liveness.alive.remove(&node);
        }
        let away = known.difference(&liveness.alive).copied().collect();
        self.absences.note(&away);
        let has_nothing = |node: &NodeId| followers.get(node).is_none_or(|state| state.matched.is_none());
        let never_reached = self.silences.longer_than(NEVER_REACHED_MAX).filter(has_nothing);
        liveness.gone = self.absences.longer_than(replacement_delay).chain(never_reached).collect();
        // A node that is to be taken away, and is away, is not waited for.
        let draining = state.0.nodes().filter(|node| node.state == NodeState::Draining).map(|node| node.id);
        let away: Vec<NodeId> = draining.filter(|node| !liveness.alive.contains(node)).collect();
        liveness.gone.extend(away);
        let members = view.metadata.members();
        if self.seating.as_ref().is_none_or(JoinHandle::is_finished) {
            let keeps_up = |node: &NodeId| {
                members.voters.contains(node)
                    || followers.get(node).is_some_and(|state| is_reached(state) && is_close(state))
            };
            let fit = liveness.alive.iter().copied().filter(keeps_up).collect();
            let fit = Liveness { alive: fit, gone: liveness.gone.clone() };
            self.seating = seat(view, &gossiping, &fit, &members);
        }
        for command in plan(&state.0, &liveness, &members.voters) {
            tracing::info!(?command, "the controller changes the cluster");
            match timeout(CHANGE_TIMEOUT, view.metadata.propose(command)).await {
                Ok(Ok(Ok(_))) => {}
                // The cluster has changed meanwhile: the next round sees how.
                Ok(Ok(Err(refusal))) => tracing::debug!(%refusal, "the change is no longer wanted"),
                Ok(Err(error)) => return tracing::warn!(%error, "the controller cannot change the cluster"),
                Err(_) => return tracing::warn!("the controller's change was not committed in time"),
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(seating) = &self.seating {
            seating.abort();
        }
    }
}

/// Since when nodes are away.
#[derive(Debug, Default)]
struct Absences(BTreeMap<NodeId, Instant>);

impl Absences {
    /// Takes note of who is away now.
    fn note(&mut self, away: &BTreeSet<NodeId>) {
        let now = Instant::now();
        let since = |node: &NodeId| (*node, self.0.get(node).copied().unwrap_or(now));
        self.0 = away.iter().map(since).collect();
    }

    fn longer_than(&self, time: Duration) -> impl Iterator<Item = NodeId> {
        let long = self.0.iter().filter(move |(_, since)| since.elapsed() >= time);
        long.map(|(node, _)| *node)
    }
}

fn is_reached(follower: &FollowerState) -> bool {
    follower.silent_for.is_some_and(|silent| silent < SILENT_MAX)
}

fn is_close(follower: &FollowerState) -> bool {
    follower.matched.is_some() && follower.lag_entries <= VOTER_LAG_MAX
}

/// Begins the next change of the controller's group, if one is due: newcomers learn, the gone go, and as many vote as should of
/// those that are `fit` to.
fn seat(
    view: &ClusterView,
    gossiping: &BTreeSet<NodeId>,
    fit: &Liveness,
    members: &GroupMembers,
) -> Option<JoinHandle<bool>> {
    if members.changing {
        return None;
    }
    let state = view.state();
    let belongs = |node: NodeId| state.0.node(node).is_some_and(|node| node.state != NodeState::Lost);
    let is_member = |node: &NodeId| members.voters.contains(node) || members.learners.contains(node);
    let newcomer = state
        .0
        .nodes()
        .map(|node| node.id)
        .find(|node| belongs(*node) && !is_member(node) && gossiping.contains(node));
    let leaver = members.learners.iter().copied().find(|node| !belongs(*node));
    let voters = controller_voters(&state.0, fit, &members.voters);
    let due = newcomer.is_some() || leaver.is_some() || voters.is_some();
    let metadata = view.metadata.clone();
    let change = async move {
        if let Some(node) = newcomer {
            told(metadata.add_learner(node).await, || format!("node {node} follows the controller"))
        } else if let Some(node) = leaver {
            told(metadata.remove_learner(node).await, || format!("node {node} has left the controller"))
        } else if let Some(voters) = voters {
            told(metadata.change_voters(&voters).await, || format!("the controller's voters are {voters:?}"))
        } else {
            false
        }
    };
    due.then(|| {
        tokio::spawn(async move {
            timeout(CHANGE_TIMEOUT, change).await.unwrap_or_else(|_| {
                tracing::warn!("a change of the controller's group takes long: it is looked at again");
                false
            })
        })
    })
}

/// Says what came of a change; whether it was made.
fn told(result: Result<(), GroupError>, done: impl FnOnce() -> String) -> bool {
    match &result {
        Ok(()) => tracing::info!("{}", done()),
        Err(error) => tracing::warn!(%error, "the controller's group was not changed: trying again"),
    }
    result.is_ok()
}

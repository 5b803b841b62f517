//! How the node is: a few checks, which health and probes go by.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::ClusterView;
use crate::error::FatalError;
use crate::limits::FAILURE_LOOK_INTERVAL;
use crate::topics::{Slot, Topics};

/// How long the controller may be without a leader before that counts: an election is no illness.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// What it is called in probes and metrics.
    pub(crate) name: &'static str,
    /// What is wrong, and what becomes of it.
    problem: Option<Arc<str>>,
    /// Whether a node where it fails should not be asked.
    decides: bool,
}

impl Check {
    pub(crate) fn is_ok(&self) -> bool {
        self.problem.is_none()
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// All checks, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checks([Check; 7]);

const PLACED: usize = 0;
const CONTROLLER: usize = 1;
const STORAGE: usize = 2;
const DISK: usize = 3;
const REPLICAS: usize = 4;
const CURRENT: usize = 5;
const SERVING: usize = 6;

impl Checks {
    /// A node that has just begun to start.
    fn starting() -> Self {
        let check = |name, decides| Check { name, problem: None, decides };
        let mut checks = Self([
            check("placed", true),
            check("controller", true),
            check("storage", true),
            check("disk", false),
            check("replicas", false),
            check("current", true),
            check("serving", true),
        ]);
        checks.set(
            PLACED,
            Some("it is starting: it has no place in a cluster yet, or waits for the controller"),
        );
        checks
    }

    fn set(&mut self, check: usize, problem: Option<&str>) {
        let kept = self.0[check].problem.as_deref() == problem;
        if !kept {
            self.0[check].problem = problem.map(Arc::from);
        }
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.0
    }

    /// Whether the node should be asked.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.iter().all(|check| check.is_ok() || !check.decides)
    }

    /// Whether the node has its place: it has started.
    pub(crate) fn has_started(&self) -> bool {
        self.0[PLACED].is_ok()
    }

    /// Whether its disk can be trusted. Without that only a new start helps.
    pub(crate) fn is_alive(&self) -> bool {
        self.0[STORAGE].is_ok()
    }

    /// Whether it takes records.
    pub(crate) fn takes_records(&self) -> bool {
        self.is_ready() && self.0[DISK].is_ok()
    }

    /// Whether all replicas that should lie here do, and are whole.
    pub(crate) fn has_its_replicas(&self) -> bool {
        self.has_started() && self.0[REPLICAS].is_ok()
    }
}

/// How the node is now, and as it changes. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Condition(Arc<watch::Sender<Checks>>);

impl Condition {
    pub(crate) fn starting() -> Self {
        Self(Arc::new(watch::Sender::new(Checks::starting())))
    }

    pub(crate) fn now(&self) -> Checks {
        self.0.borrow().clone()
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Checks> {
        self.0.subscribe()
    }

    /// It has its place, and serves.
    pub(crate) fn started(&self) {
        self.set(PLACED, None);
    }

    /// So many replicas that were opened at the start do not have yet what was committed while the node was away.
    pub(crate) fn catching_up(&self, replicas: usize) {
        let problem =
            format!("{replicas} replicas are catching up with what was committed while the node was away");
        self.set(CURRENT, (replicas > 0).then_some(problem.as_str()));
    }

    /// It is about to stop.
    pub(crate) fn stopping(&self) {
        self.set(SERVING, Some("it is stopping: others should be asked"));
    }

    /// It cannot go on.
    pub(crate) fn failed(&self, error: &FatalError) {
        self.set(STORAGE, Some(&error.to_string()));
    }

    fn set(&self, check: usize, problem: Option<&str>) {
        self.0.send_if_modified(|checks| {
            let before = checks.clone();
            checks.set(check, problem);
            *checks != before
        });
    }

    /// Looks at the controller, the disk and the replicas, for ever.
    pub(crate) async fn watch_over(self, view: ClusterView, topics: Topics) {
        let mut looks = interval(FAILURE_LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut led = Instant::now();
        loop {
            looks.tick().await;
            if view.controller_leader().is_some() {
                led = Instant::now();
            }
            let leaderless = led.elapsed() >= LEADERLESS_MAX;
            self.set(
                CONTROLLER,
                leaderless.then_some("the controller has no leader: most of its voters are away, or cannot be reached from here"),
            );
            self.set(
                DISK,
                view.metadata
                    .is_disk_full()
                    .then_some("its disk is full: it takes no records, and serves reads"),
            );
            let (unopened, damaged) = unsound(&topics);
            let problem =
                format!("{unopened} replicas could not be opened, {damaged} are damaged: others serve them");
            self.set(REPLICAS, (unopened + damaged > 0).then_some(problem.as_str()));
        }
    }
}

/// How many replicas here could not be opened, and how many are damaged.
fn unsound(topics: &Topics) -> (usize, usize) {
    let (mut unopened, mut damaged) = (0, 0);
    for topic in topics.all().values() {
        for (_, _, slot) in topic.slots() {
            match slot {
                Slot::Failed(_) => unopened += 1,
                Slot::Open(partition) if partition.damage().is_some() => damaged += 1,
                Slot::Open(_) | Slot::Elsewhere => {}
            }
        }
    }
    (unopened, damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_has_started_and_until_it_stops() {
        let condition = Condition::starting();
        assert!(!condition.now().is_ready() && !condition.now().has_started() && condition.now().is_alive());
        condition.started();
        assert!(condition.now().is_ready() && condition.now().takes_records());
        condition.stopping();
        assert!(!condition.now().is_ready() && condition.now().has_started());
    }

    #[test]
    fn a_node_that_was_away_is_ready_once_its_replicas_have_caught_up() {
        let condition = Condition::starting();
        condition.catching_up(2);
        condition.started();
        assert!(condition.now().has_started() && !condition.now().is_ready());
        condition.catching_up(0);
        assert!(condition.now().is_ready());
    }

    #[test]
    fn a_full_disk_takes_no_records_and_serves_the_rest() {
        let condition = Condition::starting();
        condition.started();
        condition.set(DISK, Some("full"));
        let checks = condition.now();
        assert!(checks.is_ready() && !checks.takes_records() && checks.has_its_replicas());
        condition.set(REPLICAS, Some("1 is damaged"));
        assert!(condition.now().is_ready() && !condition.now().has_its_replicas());
    }

    #[tokio::test]
    async fn those_who_follow_hear_of_changes_alone() {
        let condition = Condition::starting();
        let mut following = condition.follow();
        condition.started();
        assert!(following.has_changed().unwrap());
        following.mark_unchanged();
        condition.started();
        assert!(!following.has_changed().unwrap());
    }
}

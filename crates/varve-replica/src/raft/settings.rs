//! Settings of a group.

use openraft::{Config, SnapshotPolicy};
use std::collections::BTreeSet;
use std::time::Duration;
use varve_record::{NodeId, Term};

/// The time between heartbeats grows by so much with each group of a node.
const HEARTBEAT_SPACING: Duration = Duration::from_micros(500);

/// When a group's members take each other for gone. The same on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTiming {
    /// Milliseconds between a leader's heartbeats. Where a node has many groups it takes up to `election_ms`.
    pub heartbeat_ms: u64,
    /// Milliseconds without a leader before another stands for election; up to twice that, by chance, and not before twice that
    /// has passed since the leader was heard. More than a heartbeat.
    pub election_ms: u64,
}

impl Default for GroupTiming {
    fn default() -> Self {
        Self { heartbeat_ms: 200, election_ms: 500 }
    }
}

/// How a replica takes part in its group.
#[derive(Clone, Debug, Default)]
pub struct GroupSettings {
    /// When members take each other for gone.
    pub timing: GroupTiming,
    /// The voters of a new group: each of them, and nobody else, is given the same ones. Empty for a replica that joins a
    /// group, which is told by the leader, and ignored where there is a log already.
    pub voters: BTreeSet<NodeId>,
    /// Who of a new group's voters shall lead it first. The others wait for the longest election timeout before they begin the
    /// group themselves: where all stand at once, none wins. `None`: each begins it.
    pub first_leader: Option<NodeId>,
    /// A term in which the group is known to have been led. A replica that was given up here and comes back follows no leader
    /// of an earlier one.
    pub led_in: Term,
}

impl GroupTiming {
    /// Between a leader's heartbeats, on a node with so many groups. The more there are the longer it gets, up to the shortest
    /// election timeout, so that heartbeats alone do not fill a node's day.
    pub(crate) fn heartbeat(self, groups: usize) -> Duration {
        let spaced = HEARTBEAT_SPACING * u32::try_from(groups).unwrap_or(u32::MAX);
        let longest = Duration::from_millis(self.election_ms.max(self.heartbeat_ms));
        spaced.clamp(Duration::from_millis(self.heartbeat_ms), longest)
    }

    /// How long consensus may not be told that its leader is heard.
    pub(crate) fn unheard_max(self) -> Duration {
        Duration::from_millis(self.election_ms / 2)
    }

    /// How long the answer to a heartbeat counts, so that a node that answers late is heard all the same: the most that consensus
    /// takes.
    fn heartbeat_answer_ms(self) -> u64 {
        self.election_ms.saturating_mul(3) / 4
    }

    /// How long a leader that no majority answers still says that it leads: the two longest election timeouts. It takes no
    /// new entries after one.
    pub(crate) fn alone_max(self) -> Duration {
        Duration::from_millis(self.election_ms.saturating_mul(4))
    }

    /// How long it then keeps silent: until the others have forgotten it, have waited to stand for election, and have had
    /// time to win one.
    pub(crate) fn silence(self) -> Duration {
        Duration::from_millis(self.election_ms.saturating_mul(6))
    }

    /// The longest that a member goes without a leader before it stands for election.
    pub(crate) fn election_max(self) -> Duration {
        Duration::from_millis(self.election_ms.saturating_mul(2))
    }

    /// `holds_commands`: a member of a command log keeps its seat while its log is damaged and learnt anew, so that the leader sees
    /// it fall back behind what it had acknowledged.
    pub(crate) fn config(self, entries_kept: u64, holds_commands: bool) -> Config {
        Config {
            cluster_name: String::new(),
            // A node has one clock for the heartbeats of all its groups. To consensus it is how long an answer may take.
            heartbeat_interval: self.heartbeat_answer_ms(),
            enable_heartbeat: false,
            election_timeout_min: self.election_ms,
            election_timeout_max: self.election_ms * 2,
            enable_pre_vote: Some(true),
            // A leader's entries are sent while they are written: after a crash others may hold what it lost, under names that
            // it would give again in the same term. A new term it is.
            enable_leader_restore: Some(false),
            // A replica makes a snapshot when something was trimmed, and then all of it goes; or of commands, now and then.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: entries_kept,
            allow_log_reversion: Some(holds_commands),
            backoff: "50ms 100ms 200ms ...1s".to_owned(),
            ..Config::default()
        }
    }
}

//! Settings of a group.

use openraft::{Config, SnapshotPolicy};
use std::collections::BTreeSet;
use std::time::Duration;
use varve_record::{NodeId, Term};

/// When a group's members take each other for gone. The same on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTiming {
    /// Milliseconds between a leader's heartbeats.
    pub heartbeat_ms: u64,
    /// Milliseconds without a leader before another stands for election; up to twice that, by chance. At least three
    /// heartbeats.
    pub election_ms: u64,
}

impl Default for GroupTiming {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_ms: 500 }
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
            heartbeat_interval: self.heartbeat_ms,
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

//! Which server a call about a partition goes to.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The servers that hold a partition, each as host:port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionServers {
    /// The leader, if there is one and its address is known.
    pub leader: Option<String>,
    /// The other replicas whose addresses are known.
    pub followers: Vec<String>,
}

/// Picks a server for each call, so that nothing has to be restarted when the leader moves.
pub trait Picker: Send + Sync + Debug {
    /// The server to call, or `None` if there is none to call now.
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a str>;
}

/// Picks the leader: for appends and linearizable reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickLeader;

impl Picker for PickLeader {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a str> {
        servers.leader.as_deref()
    }
}

/// Picks the followers in turn, and the leader where there are none: for reads, so that the leader is left to appends.
#[derive(Debug, Default)]
pub struct PickFollower {
    turn: AtomicUsize,
}

impl Picker for PickFollower {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a str> {
        if servers.followers.is_empty() {
            return servers.leader.as_deref();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Some(&servers.followers[turn % servers.followers.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(leader: Option<&str>, followers: &[&str]) -> PartitionServers {
        PartitionServers {
            leader: leader.map(Into::into),
            followers: followers.iter().map(|f| f.to_string()).collect(),
        }
    }

    #[test]
    fn leader_only() {
        assert_eq!(PickLeader.pick(&servers(Some("a"), &["b"])), Some("a"));
        assert_eq!(PickLeader.pick(&servers(None, &["b"])), None);
    }

    #[test]
    fn followers_in_turn_leader_where_none() {
        let picker = PickFollower::default();
        let both = servers(Some("a"), &["b", "c"]);
        let picked: Vec<_> = (0..4).map(|_| picker.pick(&both)).collect();
        assert_eq!(picked, [Some("b"), Some("c"), Some("b"), Some("c")]);
        assert_eq!(picker.pick(&servers(Some("a"), &[])), Some("a"));
        assert_eq!(picker.pick(&servers(None, &[])), None);
    }
}

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{PartitionServer, PartitionServers, Picker};

/// Picks the followers in turn, and the leader where there are none: for reads, so that the leader is left to appends.
#[derive(Debug, Default)]
pub struct PickFollower {
    turn: AtomicUsize,
}

impl Picker for PickFollower {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer> {
        if servers.followers.is_empty() {
            return servers.leader.as_ref();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        servers.followers.get(turn % servers.followers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{picked, servers};
    use super::*;

    #[test]
    fn followers_in_turn_leader_where_none() {
        let picker = PickFollower::default();
        assert_eq!(picked(&picker, &servers(Some("a"), &["b", "c"]), 4), ["b", "c", "b", "c"]);
        assert_eq!(picked(&picker, &servers(Some("a"), &[]), 1), ["a"]);
        assert!(picker.pick(&servers(None, &[])).is_none());
    }
}

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{PartitionServer, PartitionServers, Picker};

/// Picks the follower with the fewest calls of this client under way (in turn among equals), and the leader where there
/// are no followers: for reads that differ much in what they cost.
#[derive(Debug, Default)]
pub struct PickFewestOutstanding {
    turn: AtomicUsize,
}

impl Picker for PickFewestOutstanding {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer> {
        let fewest = servers.followers.iter().map(|server| server.outstanding).min();
        let Some(fewest) = fewest else { return servers.leader.as_ref() };
        let mut idlest = servers.followers.iter().filter(|server| server.outstanding == fewest);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        idlest.nth(turn % idlest.clone().count())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{picked, servers};
    use super::*;

    #[test]
    fn fewest_first_equals_in_turn_leader_where_none() {
        let picker = PickFewestOutstanding::default();
        let mut three = servers(Some("a"), &["b", "c", "d"]);
        three.followers[0].outstanding = 3;
        three.followers[1].outstanding = 2;
        three.followers[2].outstanding = 2;
        assert_eq!(picked(&picker, &three, 4), ["c", "d", "c", "d"]);
        three.followers[2].outstanding = 4;
        assert_eq!(picked(&picker, &three, 2), ["c", "c"]);
        assert_eq!(picked(&picker, &servers(Some("a"), &[]), 1), ["a"]);
        assert!(picker.pick(&servers(None, &[])).is_none());
    }
}

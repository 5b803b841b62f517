use std::sync::Arc;

use super::{PartitionServer, PartitionServers, PickFollower, Picker};

/// Picks among the servers of one rack where it has any of the partition, and else among all: for reads that stay in their
/// zone. [`ClientBuilder::rack`](crate::ClientBuilder::rack) sets it.
#[derive(Debug)]
pub struct PickNearest {
    rack: String,
    among: Arc<dyn Picker>,
}

impl PickNearest {
    /// Picks servers of this rack in turn: its followers, or the leader if it is the only one there.
    #[must_use]
    pub fn new(rack: impl Into<String>) -> Self {
        Self::among(rack, Arc::new(PickFollower::default()))
    }

    /// Lets another picker choose among the servers of this rack, or among all where it has none.
    #[must_use]
    pub fn among(rack: impl Into<String>, among: Arc<dyn Picker>) -> Self {
        Self { rack: rack.into(), among }
    }
}

impl Picker for PickNearest {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer> {
        let is_near = |server: &&PartitionServer| *server.rack == *self.rack;
        let near = servers.filtered(is_near);
        let Some(picked) = self.among.pick(&near) else { return self.among.pick(servers) };
        servers.leader.iter().chain(&servers.followers).find(|server| server.addr == picked.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{picked, servers};
    use super::*;

    #[test]
    fn own_rack_first_then_all() {
        let near =
            |leader, followers: &[&str]| picked(&PickNearest::new("x"), &servers(Some(leader), followers), 3);
        assert_eq!(near("a@x", &["b@x", "c@y", "d@x"]), ["b", "d", "b"]);
        assert_eq!(near("a@x", &["b@y", "c@y"]), ["a", "a", "a"]);
        assert_eq!(near("a@y", &["b@y", "c@z"]), ["b", "c", "b"]);
        assert_eq!(near("a@y", &[]), ["a", "a", "a"]);
        assert!(PickNearest::new("x").pick(&servers(None, &[])).is_none());
    }

    #[test]
    fn another_picker_chooses_within_the_rack() {
        let picker = PickNearest::among("x", Arc::new(super::super::PickFewestOutstanding::default()));
        let mut both = servers(Some("a@x"), &["b@x", "c@x", "d@y"]);
        both.followers[0].outstanding = 1;
        assert_eq!(picked(&picker, &both, 2), ["c", "c"]);
    }
}

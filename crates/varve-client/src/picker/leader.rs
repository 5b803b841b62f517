use super::{PartitionServer, PartitionServers, Picker};

/// Picks the leader: for appends and linearizable reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickLeader;

impl Picker for PickLeader {
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer> {
        servers.leader.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{picked, servers};
    use super::*;

    #[test]
    fn leader_only() {
        assert_eq!(picked(&PickLeader, &servers(Some("a"), &["b"]), 2), ["a", "a"]);
        assert!(PickLeader.pick(&servers(None, &["b"])).is_none());
    }
}

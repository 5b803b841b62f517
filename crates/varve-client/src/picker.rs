//! Which server a call about a partition goes to.

mod fewest;
mod follower;
mod leader;
mod nearest;

use std::fmt::Debug;
use std::sync::Arc;

pub use self::fewest::PickFewestOutstanding;
pub use self::follower::PickFollower;
pub use self::leader::PickLeader;
pub use self::nearest::PickNearest;

/// The servers that hold a partition, and can be used now as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionServers {
    /// The leader, if there is one and its address is known.
    pub leader: Option<PartitionServer>,
    /// The other replicas whose addresses are known.
    pub followers: Vec<PartitionServer>,
}

impl PartitionServers {
    /// Those of them of which something is so.
    pub(crate) fn filtered(&self, is_so: impl Fn(&&PartitionServer) -> bool) -> Self {
        Self {
            leader: self.leader.as_ref().filter(&is_so).cloned(),
            followers: self.followers.iter().filter(&is_so).cloned().collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leader.is_none() && self.followers.is_empty()
    }
}

/// A server that holds a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionServer {
    /// Where it is, as host:port.
    pub addr: Arc<str>,
    /// Its rack or zone; empty where none is configured.
    pub rack: Arc<str>,
    /// Calls of this client to it that are under way, streams included.
    pub outstanding: usize,
}

/// Picks a server for each call, so that nothing has to be restarted when the leader moves.
pub trait Picker: Send + Sync + Debug {
    /// The server to call, or `None` if there is none to call now.
    fn pick<'a>(&self, servers: &'a PartitionServers) -> Option<&'a PartitionServer>;
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A server of a rack, as `name@rack`, with calls under way.
    pub(crate) fn server(text: &str, outstanding: usize) -> PartitionServer {
        let (addr, rack) = text.split_once('@').unwrap_or((text, ""));
        PartitionServer { addr: addr.into(), rack: rack.into(), outstanding }
    }

    pub(crate) fn servers(leader: Option<&str>, followers: &[&str]) -> PartitionServers {
        PartitionServers {
            leader: leader.map(|leader| server(leader, 0)),
            followers: followers.iter().map(|follower| server(follower, 0)).collect(),
        }
    }

    pub(crate) fn picked(picker: &dyn Picker, servers: &PartitionServers, times: usize) -> Vec<String> {
        let pick = |_| picker.pick(servers).map_or_else(String::new, |server| server.addr.to_string());
        (0..times).map(pick).collect()
    }
}

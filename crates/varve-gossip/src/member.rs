//! One member, as gossip knows it.

use std::fmt;
use std::net::SocketAddr;

use crate::Tags;

/// One member of the cluster, as the local node knows it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name that its operator gave it. Gossip holds one member per name.
    pub name: String,
    /// Where its gossip is reached, TCP and UDP.
    pub gossip_addr: SocketAddr,
    /// What it says of itself.
    pub tags: Tags,
    /// Whether it is there.
    pub status: MemberStatus,
}

impl Member {
    /// Whether it answers: a member on its way out does not count.
    pub fn is_alive(&self) -> bool {
        self.status == MemberStatus::Alive
    }
}

/// Whether a member is there. A hint: what must be certain is asked of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberStatus {
    /// It answers probes, or is only suspected so far.
    Alive,
    /// It said that it leaves for good.
    Leaving,
    /// It left for good.
    Left,
    /// It stopped answering without a word: it crashed, was stopped, or is cut off.
    Failed,
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        })
    }
}

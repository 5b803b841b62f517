//! How a node takes part in gossip.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{GossipKeyRing, Tags};

/// Most characters of a member's name.
pub const NAME_BYTES_MAX: usize = 128;

/// Most addresses that are tried in one round of joining, after names are resolved.
pub const JOIN_ADDRS_MAX: usize = 64;

/// How a node takes part in gossip.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// The node's name, unique in the cluster: 1 to [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Where gossip listens, TCP and UDP on one port number. Port 0 takes any that is free in both.
    pub bind_addr: SocketAddr,
    /// Where the others reach it, if not at `bind_addr`. Port 0 means the port that was bound. Without it, a wildcard
    /// `bind_addr` is told to the others as the first private address of the machine.
    pub advertise_addr: Option<SocketAddr>,
    /// `host:port` of members to join by. Names are resolved anew at each try; one with several records is several addresses.
    /// Empty for the first node of a cluster.
    pub start_join_addrs: Vec<String>,
    /// `host:port` where members were reached before a restart ([`addrs_to_keep`](crate::addrs_to_keep)).
    pub known_addrs: Vec<String>,
    /// The keys that all members share. There is no gossip without one.
    pub keys: GossipKeyRing,
    /// Where they were read, to be named where others turn out to use another.
    pub key_file: Option<PathBuf>,
    /// What the node says of itself.
    pub tags: Tags,
    /// How quickly failures and changes are noticed.
    pub timing: GossipTiming,
}

impl GossipConfig {
    /// A node that joins nobody, with no tags and the usual timing.
    pub fn new(name: impl Into<String>, bind_addr: SocketAddr, keys: impl Into<GossipKeyRing>) -> Self {
        Self {
            name: name.into(),
            bind_addr,
            advertise_addr: None,
            start_join_addrs: Vec::new(),
            known_addrs: Vec::new(),
            keys: keys.into(),
            key_file: None,
            tags: Tags::new(),
            timing: GossipTiming::default(),
        }
    }
}

/// How quickly failures and changes are noticed.
///
/// A member whose process is gone is seen as failed after at most `probe_interval` × (others + 1) until some member probes it
/// and the probe ends, plus `probe_interval` × `suspicion_intervals`; one whose machine is silent, `stream_timeout` later. With
/// the defaults and three nodes that is 3.0 and 4.5 seconds. A member that stalls, on a machine that is busy, and answers
/// within `stream_timeout` is not even suspected, and it may refute a suspicion until that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipTiming {
    /// How often a member probes one other.
    pub probe_interval: Duration,
    /// How long a probe by datagram may take, before it is tried by way of other members and by TCP. Less than half of
    /// `probe_interval`, so that their answers come in time.
    pub probe_timeout: Duration,
    /// How long a connection, a message over it, or a probe by TCP may take.
    pub stream_timeout: Duration,
    /// How many probe intervals a suspected member has to say that it lives.
    pub suspicion_intervals: usize,
    /// How often news is passed on to some members.
    pub gossip_interval: Duration,
    /// How often the whole state is exchanged with one member.
    pub exchange_interval: Duration,
    /// How long to wait after the first round of joining that found nobody. It doubles with each round.
    pub join_backoff_min: Duration,
    /// How long to wait between two rounds of joining at most, while the node sees no other member.
    pub join_backoff_max: Duration,
    /// How often addresses to join by are tried that no live member has, while the node sees others: that heals a cluster
    /// which fell apart.
    pub rejoin_interval: Duration,
}

impl GossipTiming {
    /// The first setting that is no time: shorter than a millisecond, which would have something run without a pause.
    pub(crate) fn unfit(&self) -> Option<&'static str> {
        let settings = [
            ("probe_interval", self.probe_interval),
            ("probe_timeout", self.probe_timeout),
            ("stream_timeout", self.stream_timeout),
            ("gossip_interval", self.gossip_interval),
            ("exchange_interval", self.exchange_interval),
            ("join_backoff_min", self.join_backoff_min),
            ("join_backoff_max", self.join_backoff_max),
            ("rejoin_interval", self.rejoin_interval),
        ];
        settings.iter().find(|(_, time)| *time < Duration::from_millis(1)).map(|(name, _)| *name)
    }
}

impl Default for GossipTiming {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(200),
            stream_timeout: Duration::from_millis(1500),
            suspicion_intervals: 3,
            gossip_interval: Duration::from_millis(150),
            exchange_interval: Duration::from_secs(5),
            join_backoff_min: Duration::from_millis(100),
            join_backoff_max: Duration::from_secs(5),
            rejoin_interval: Duration::from_secs(10),
        }
    }
}

//! How a node finds others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use varve_gossip::{Gossip, GossipConfig, GossipKeyRing, GossipTiming, Membership, Tags};

use crate::error::StartError;

/// How a node finds others.
#[derive(Clone, Debug, Default)]
pub enum Discovery {
    /// Not at all: it is alone for good.
    #[default]
    Alone,
    /// By gossip.
    Gossip(Box<GossipSettings>),
    /// By a membership that somebody else takes part in: the double of a simulation.
    Given(Arc<dyn Membership>),
}

/// How a node takes part in gossip.
#[derive(Clone, Debug)]
pub struct GossipSettings {
    /// Where it listens, TCP and UDP; port 0 takes a free one.
    pub bind_addr: SocketAddr,
    /// Where the others reach it, if not there.
    pub advertise_addr: Option<SocketAddr>,
    /// Gossip addresses of nodes to join by, as host:port.
    pub start_join_addrs: Vec<String>,
    /// What it is encrypted with.
    pub keys: GossipKeyRing,
    /// Where that was read, to be named where others turn out to use another.
    pub key_file: Option<PathBuf>,
    /// How quickly failures are noticed.
    pub timing: GossipTiming,
}

impl GossipSettings {
    /// With nobody to join by, and the usual timing.
    #[must_use]
    pub fn new(bind_addr: SocketAddr, keys: impl Into<GossipKeyRing>) -> Self {
        let (start_join_addrs, keys) = (Vec::new(), keys.into());
        let (advertise_addr, key_file, timing) = (None, None, GossipTiming::default());
        Self { bind_addr, advertise_addr, start_join_addrs, keys, key_file, timing }
    }
}

impl Discovery {
    /// Begins to look for others, as a node of this name, with what it says of itself, and those known from before.
    pub(crate) async fn start(
        &self,
        name: &str,
        tags: Tags,
        known_addrs: Vec<String>,
    ) -> Result<Option<Arc<dyn Membership>>, StartError> {
        match self {
            Self::Alone => Ok(None),
            Self::Given(membership) => {
                // Whoever gave it may have stopped it already: then nobody is to be told.
                drop(membership.set_tags(tags).await);
                Ok(Some(Arc::clone(membership)))
            }
            Self::Gossip(settings) => {
                let config = GossipConfig {
                    advertise_addr: settings.advertise_addr,
                    start_join_addrs: settings.start_join_addrs.clone(),
                    known_addrs,
                    tags,
                    timing: settings.timing,
                    key_file: settings.key_file.clone(),
                    ..GossipConfig::new(name, settings.bind_addr, settings.keys.clone())
                };
                let gossip = Gossip::start(config).await.map_err(StartError::Gossip)?;
                Ok(Some(Arc::new(gossip)))
            }
        }
    }
}

//! Finding the others, for as long as it takes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use memberlist_core::proto::MaybeResolvedAddress;
use tokio::net::lookup_host;
use tokio::time::{self, timeout};

use crate::config::JOIN_ADDRS_MAX;
use crate::conflict::NameWatch;
use crate::foreign::KeyWatch;
use crate::roster::Roster;
use crate::settings::SerfNode;
use crate::{GossipConfig, GossipTiming};

/// How long resolving one name may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one round of joining may take.
const ROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a node joins anew while others know its name at another address: as long as its earlier run is not given up,
/// they refuse the new address, and hear of it only by a join.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(1);

/// In how many rounds in a row the name must be seen elsewhere before that is no restart any more, but another live node.
const CONFLICT_ROUNDS_MIN: u32 = 10;

/// How many rounds lie between two complaints about that.
const CONFLICT_LOG_ROUNDS: u32 = 60;

/// Joins until others are seen, and goes on to look for those that should be there.
pub(crate) struct Joiner {
    name: String,
    /// What reaches this node itself, and need not be tried.
    own_addrs: Vec<SocketAddr>,
    /// `host:port`, start-join addresses first.
    targets: Vec<String>,
    timing: GossipTiming,
    serf: SerfNode,
    roster: Arc<Roster>,
    names: Arc<NameWatch>,
    keys: Arc<KeyWatch>,
    /// Rounds in a row in which the name was seen at another address.
    conflicts: u32,
}

impl Joiner {
    pub(crate) fn new(
        config: &GossipConfig,
        addr: SocketAddr,
        serf: SerfNode,
        roster: Arc<Roster>,
        names: Arc<NameWatch>,
        keys: Arc<KeyWatch>,
    ) -> Self {
        let mut targets = config.start_join_addrs.clone();
        targets.extend(config.known_addrs.iter().cloned());
        let own_addrs = own_addrs(addr, config.bind_addr.ip());
        Self {
            name: config.name.clone(),
            own_addrs,
            targets,
            timing: config.timing,
            serf,
            roster,
            names,
            keys,
            conflicts: 0,
        }
    }

    /// Never ends.
    pub(crate) async fn run(mut self) {
        let mut backoff = self.timing.join_backoff_min;
        loop {
            let was_alone = self.live_others().is_empty();
            let all_present = self.join_absent().await;
            let conflict = self.judge_conflict();
            let alone = self.live_others().is_empty();
            self.keys.end_round(alone);
            // Nodes that start together see each other one by one: whoever is still missing is tried again soon, and rarely
            // in the end.
            let longest = if alone { self.timing.join_backoff_max } else { self.timing.rejoin_interval };
            if all_present || (alone && !was_alone) {
                backoff = self.timing.join_backoff_min;
            }
            let wait = if all_present { longest } else { backoff.min(longest) };
            backoff = (backoff * 2).min(longest);
            if alone {
                time::sleep(wait).await;
            } else {
                let wait = if conflict { CONFLICT_INTERVAL.min(wait) } else { wait };
                // Whoever finds itself alone looks for the others at once.
                timeout(wait, self.until_alone()).await.ok();
            }
        }
    }

    /// Joins by each address that no live member has; says whether there was none.
    async fn join_absent(&self) -> bool {
        let present = self.live_others();
        let mut addrs = self.resolve_targets().await;
        addrs.retain(|addr| !self.own_addrs.contains(addr) && !present.contains(addr));
        if self.conflicts > 0 {
            // The next to hear of this node's address must be somebody who refused it before.
            addrs.extend(present.first());
        }
        if addrs.is_empty() {
            return true;
        }
        if timeout(ROUND_TIMEOUT, self.join_by(&addrs)).await.is_err() {
            tracing::debug!(tried = addrs.len(), "gossip: a round of joining took too long");
        }
        false
    }

    /// Exchanges states with all of these at the same time, then joins by one that answered: serf's own join tries one
    /// address after another.
    async fn join_by(&self, addrs: &[SocketAddr]) {
        let exchange = async |addr: &SocketAddr| match self.serf.memberlist().join(resolved(*addr)).await {
            Ok(addr) => Some(addr),
            Err(error) => {
                tracing::debug!(%addr, %error, "gossip: an address to join by does not answer");
                None
            }
        };
        let answered = join_all(addrs.iter().map(exchange)).await;
        let Some(addr) = answered.into_iter().flatten().next() else { return };
        if let Err(error) = self.serf.join(resolved(addr), true).await {
            tracing::debug!(%addr, %error, "gossip: joining is not told to the others");
        }
    }

    /// Names are resolved anew each time: a restarted member may have another address under the same name.
    async fn resolve_targets(&self) -> Vec<SocketAddr> {
        let resolved = join_all(self.targets.iter().map(|target| resolve(target))).await;
        let mut seen = BTreeSet::new();
        let mut addrs: Vec<_> = resolved.into_iter().flatten().filter(|addr| seen.insert(*addr)).collect();
        addrs.truncate(JOIN_ADDRS_MAX);
        addrs
    }

    fn live_others(&self) -> Vec<SocketAddr> {
        let members = self.roster.members();
        let others = members.into_iter().filter(|member| member.is_alive() && member.name != self.name);
        others.map(|member| member.gossip_addr).collect()
    }

    async fn until_alone(&self) {
        let mut changes = self.roster.changes();
        while !self.live_others().is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the others know this node's name at another address. Says so once that can be no earlier run of it any more.
    fn judge_conflict(&mut self) -> bool {
        let Some(held_at) = self.names.take_conflict() else {
            self.conflicts = 0;
            self.names.confirm(None);
            return false;
        };
        self.conflicts += 1;
        if self.conflicts >= CONFLICT_ROUNDS_MIN {
            self.names.confirm(Some(held_at));
        }
        if self.conflicts == CONFLICT_ROUNDS_MIN || self.conflicts.is_multiple_of(CONFLICT_LOG_ROUNDS) {
            let name = &self.name;
            tracing::error!(%name, %held_at, "gossip: another live node has this node's name, and the others keep to it: \
                give one of the two another name");
        }
        true
    }
}

fn resolved(addr: SocketAddr) -> MaybeResolvedAddress<SocketAddr, SocketAddr> {
    MaybeResolvedAddress::resolved(addr)
}

async fn resolve(target: &str) -> Vec<SocketAddr> {
    match timeout(RESOLVE_TIMEOUT, lookup_host(target)).await {
        Ok(Ok(addrs)) => addrs.collect(),
        Ok(Err(error)) => {
            tracing::debug!(target, %error, "gossip: an address to join by is not resolved");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(target, "gossip: resolving an address to join by took too long");
            Vec::new()
        }
    }
}

fn own_addrs(advertised: SocketAddr, bound: IpAddr) -> Vec<SocketAddr> {
    let port = advertised.port();
    let mut addrs = vec![advertised, SocketAddr::new(bound, port)];
    if bound.is_unspecified() {
        addrs.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        addrs.push(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port));
    }
    addrs
}

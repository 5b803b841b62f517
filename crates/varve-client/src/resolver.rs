mod link;
mod rotation;
mod seeds;
mod watcher;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::Status;
use tonic::transport::Channel;
use varve_api::error::{ApiError, Reason};
use varve_api::v1::GetServersResponse;
use varve_record::NodeId;
use varve_telemetry::Spans;

use self::link::Link;
use self::rotation::Rotation;
use self::seeds::{SeedAddress, Seeds};
use crate::connection::OutstandingCall;
use crate::picker::{PartitionServer, PartitionServers};
use crate::roster::Roster;
use crate::topics::Placement;
use crate::{ClientBuilder, ClusterAddress, channel, failure};

pub(crate) use self::watcher::Watcher;

/// Knows the servers of the cluster, and keeps a channel to each.
#[derive(Debug)]
pub(crate) struct Resolver {
    seeds: Seeds,
    options: ClientBuilder,
    roster: watch::Sender<Arc<Roster>>,
    /// The server that was doubted last.
    doubted: watch::Sender<Option<Arc<str>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: HashMap<Arc<str>, Link>,
    rotation: Rotation,
    /// The seeds as they were looked up last, until all fail.
    seeds: Option<Vec<SeedAddress>>,
    /// Whether a server tells of every change, so that what others say is older.
    is_watched: bool,
}

impl Resolver {
    pub(crate) fn new(address: &ClusterAddress, options: ClientBuilder) -> Self {
        let seeds = Seeds::new(address, &options);
        let roster = watch::Sender::new(Arc::default());
        let doubted = watch::Sender::new(None);
        Self { seeds, options, roster, doubted, state: Mutex::default() }
    }

    /// A server to ask what any can answer: the same one until it fails. Those known come first, then what the user
    /// named; when all have failed it begins anew, and so with names looked up anew.
    pub(crate) async fn any(&self) -> Arc<str> {
        const ROUNDS: usize = 2;
        for _ in 0..ROUNDS {
            if let Some(server) = self.next_member() {
                return server;
            }
            let seeds = self.seed_addresses().await;
            if let Some(seed) = self.state().rotation.next_in_order(seeds.iter().map(|seed| &seed.addr)) {
                return seed;
            }
            let mut state = self.state();
            state.rotation.start_over();
            state.seeds = None;
        }
        self.seeds.first()
    }

    fn next_member(&self) -> Option<Arc<str>> {
        let (roster, entropy) = (self.roster(), &*self.options.env.entropy);
        let rotation = &mut self.state().rotation;
        let in_service = rotation.next(roster.addrs(true), entropy);
        in_service.or_else(|| rotation.next(roster.addrs(false), entropy))
    }

    async fn seed_addresses(&self) -> Vec<SeedAddress> {
        if let Some(seeds) = &self.state().seeds {
            return seeds.clone();
        }
        let seeds = self.seeds.look_up().await;
        self.state().seeds = Some(seeds.clone());
        seeds
    }

    /// Takes note that a server did not answer, so that another is asked next. Says whether there is one that was not
    /// tried yet.
    pub(crate) fn failed(&self, addr: &Arc<str>) -> bool {
        let roster = self.roster();
        let mut state = self.state();
        state.rotation.failed(addr);
        let seeds = state.seeds.iter().flatten().map(|seed| &seed.addr);
        let members = roster.addrs(true).chain(roster.addrs(false));
        members.chain(seeds).any(|addr| !state.rotation.was_tried(addr))
    }

    /// Takes note that a server answers and yet may know less than the others do: one that is cut off from them names no
    /// leader, or an old one, for as long as that lasts. Another is asked next, and followed.
    pub(crate) fn doubt(&self, addr: &Arc<str>) {
        self.failed(addr);
        self.doubted.send_replace(Some(addr.clone()));
    }

    /// Doubts the server that is asked what any can answer: what it told of who leads was not so.
    pub(crate) fn doubt_current(&self) {
        let current = self.state().rotation.current();
        if let Some(current) = current {
            self.doubt(&current);
        }
    }

    /// Waits until a server is doubted, from when this was called.
    fn doubted(&self, addr: &Arc<str>) -> impl Future<Output = ()> + Send + use<> {
        let (mut doubted, addr) = (self.doubted.subscribe(), addr.clone());
        async move {
            while doubted.changed().await.is_ok() {
                if doubted.borrow_and_update().as_ref() == Some(&addr) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        }
    }

    /// A member of the cluster that is not this one: one in service, if there is any.
    pub(crate) fn another(&self, addr: &Arc<str>) -> Option<Arc<str>> {
        let (roster, entropy) = (self.roster(), &*self.options.env.entropy);
        let others = |in_service| roster.addrs(in_service).filter(|other| *other != addr).collect::<Vec<_>>();
        let in_service = others(true);
        let others = if in_service.is_empty() { others(false) } else { in_service };
        let chosen = usize::try_from(entropy.below(others.len().max(1) as u64)).ok()?;
        others.get(chosen).copied().cloned()
    }

    /// Takes note that a server answered what any can.
    pub(crate) fn answered(&self, addr: &Arc<str>) {
        self.state().rotation.answered(addr);
    }

    /// Takes note of how a call to a server ended: one that cannot be reached is not read from for a while.
    pub(crate) fn ended(&self, addr: &str, error: Option<&ApiError>) {
        let is_away = |error: &ApiError| {
            let away =
                [Reason::Unreachable, Reason::ConnectionLost, Reason::ShuttingDown, Reason::NotInitialized];
            away.contains(&error.reason) || [Reason::Deadline, Reason::TlsFailed].contains(&error.reason)
        };
        if let Some(link) = self.state().links.get_mut(addr) {
            match error {
                None => link.works(),
                Some(error) if is_away(error) => link.failed(),
                Some(_) => {}
            }
        }
    }

    /// What is said of a call to a server that failed.
    pub(crate) fn failure(&self, addr: &str, status: &Status) -> ApiError {
        let heard = self.state().links.get(addr).and_then(Link::heard);
        failure::of_call(addr, status, heard)
    }

    /// The channel to a server, and a call counted on it.
    ///
    /// # Errors
    /// If the address is none.
    pub(crate) fn begin(&self, addr: &Arc<str>) -> Result<(Channel, OutstandingCall), ApiError> {
        let mut state = self.state();
        if let Some(link) = state.links.get(addr) {
            return Ok(link.begin());
        }
        let authority = state.authority(addr);
        let link = Link::new(channel::open(addr, &authority, &self.options)?);
        let begun = link.begin();
        state.links.insert(addr.clone(), link);
        Ok(begun)
    }

    /// Where the spans of calls go.
    pub(crate) fn spans(&self) -> Spans {
        self.options.env.telemetry.spans.clone()
    }

    /// The servers of a partition: those that can be used now, as far as is known, and have not failed for the caller; all,
    /// where that leaves none.
    pub(crate) fn servers_of(&self, placement: &Placement, avoided: &[Arc<str>]) -> PartitionServers {
        let all = self.all_servers_of(placement);
        let roster = self.roster();
        let state = self.state();
        let works = |server: &&PartitionServer| {
            state.links.get(&server.addr).is_none_or(Link::seems_to_work) && !avoided.contains(&server.addr)
        };
        let in_service = |server: &&PartitionServer| {
            roster.at(&server.addr).is_none_or(|member| member.is_in_service()) && works(server)
        };
        let usable = all.filtered(in_service);
        let usable = if usable.is_empty() { all.filtered(works) } else { usable };
        if usable.is_empty() { all } else { usable }
    }

    /// Every server of a partition, whatever is thought of it.
    pub(crate) fn all_servers_of(&self, placement: &Placement) -> PartitionServers {
        let roster = self.roster();
        let state = self.state();
        let server = |addr: &Arc<str>| PartitionServer {
            addr: addr.clone(),
            rack: roster.at(addr).map(|member| member.rack.clone()).unwrap_or_default(),
            outstanding: state.links.get(addr).map_or(0, Link::outstanding),
        };
        let leader =
            placement.leader.as_ref().and_then(|leader| leader.addr(&roster)).map(|addr| server(&addr));
        let is_leader = |addr: &Arc<str>| leader.as_ref().is_some_and(|leader| leader.addr == *addr);
        let members = placement.replicas.iter().filter_map(|id| roster.members.get(id));
        let followers = members.map(|member| &member.addr).filter(|addr| !is_leader(addr)).map(server);
        PartitionServers { followers: followers.collect(), leader: leader.clone() }
    }

    /// The leader of a partition, whatever is thought of it.
    pub(crate) fn leader_of(&self, placement: &Placement) -> Option<Arc<str>> {
        placement.leader.as_ref()?.addr(&self.roster())
    }

    /// Whether all of these servers are known.
    pub(crate) fn knows_all<'a>(&self, mut ids: impl Iterator<Item = &'a NodeId>) -> bool {
        let roster = self.roster();
        ids.all(|id| roster.members.contains_key(id))
    }

    /// Whether a server tells of every change.
    pub(crate) fn is_watched(&self) -> bool {
        self.state().is_watched
    }

    /// Waits until a server is said to be gone that was there when this was called.
    pub(crate) fn gone(&self, addr: &Arc<str>) -> impl Future<Output = ()> + Send + use<> {
        self.left(addr, |roster, addr| roster.at(addr).is_some_and(|member| member.is_alive))
    }

    /// As [`Resolver::gone`], and also if the server is to be taken away.
    pub(crate) fn out_of_service(&self, addr: &Arc<str>) -> impl Future<Output = ()> + Send + use<> {
        self.left(addr, |roster, addr| roster.at(addr).is_some_and(|member| member.is_in_service()))
    }

    /// Waits until something is no longer so of a server that is so now. What is not so now may be a mistake of who said
    /// it, and is not waited for.
    fn left(
        &self,
        addr: &Arc<str>,
        is_so: fn(&Roster, &str) -> bool,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut rosters = self.roster.subscribe();
        let addr = addr.clone();
        let was_so = is_so(&rosters.borrow_and_update(), &addr);
        async move {
            if !was_so || rosters.wait_for(|roster| !is_so(roster, &addr)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes over what a server answered about the cluster. Where changes are watched it may be older than what is known,
    /// and only tells of servers that are not.
    pub(crate) fn learn(&self, answer: &GetServersResponse, answered_by: &str) {
        let is_watched = self.is_watched();
        self.take(answer, answered_by, is_watched);
    }

    fn take(&self, answer: &GetServersResponse, answered_by: &str, only_new: bool) {
        let mut roster = Roster::new(answer);
        let known = self.roster();
        roster.reached_at(answered_by, NodeId::new(answer.server_id));
        if roster.is_empty() || self.is_foreign(&roster, &known, answered_by) {
            return;
        }
        if only_new {
            let mut both = Roster::clone(&known);
            both.extend(roster);
            roster = both;
        }
        let mut state = self.state();
        let State { links, seeds, rotation, .. } = &mut *state;
        let is_seed = |addr: &Arc<str>| seeds.iter().flatten().any(|seed| seed.addr == *addr);
        let is_known = |addr: &Arc<str>| roster.at(addr).is_some() || is_seed(addr);
        links.retain(|addr, _| is_known(addr));
        rotation.retain(is_known);
        self.roster.send_if_modified(|known| {
            let is_new = **known != roster;
            if is_new {
                *known = Arc::new(roster);
            }
            is_new
        });
    }

    /// Whether an answer is about another cluster than ours, from a server that the user did not name: then the address of
    /// one of our servers was given to another.
    fn is_foreign(&self, roster: &Roster, known: &Roster, answered_by: &str) -> bool {
        let is_other = !known.cluster_id.is_empty() && known.cluster_id != roster.cluster_id;
        if is_other {
            let (ours, theirs) = (&known.cluster_id, &roster.cluster_id);
            tracing::warn!(
                server = answered_by,
                ours,
                theirs,
                "server belongs to another cluster than before"
            );
        }
        is_other && !self.state().seeds.iter().flatten().any(|seed| *seed.addr == *answered_by)
    }

    fn roster(&self) -> Arc<Roster> {
        self.roster.borrow().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What the user calls the server at an address.
    fn authority(&self, addr: &Arc<str>) -> Arc<str> {
        let seed = self.seeds.iter().flatten().find(|seed| seed.addr == *addr);
        seed.map_or_else(|| addr.clone(), |seed| seed.name.clone())
    }
}

#[cfg(test)]
mod tests;

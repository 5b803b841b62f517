//! The simulated world: hosts, the links between them, and time, which goes on a step at a time.

use super::journal::Journal;
use super::plan::{Plan, name_of};
use super::security::Certificates;
use super::site::{Site, State};
use crate::Sync;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};
use turmoil::Sim;
use varve_env::disk::CrashMode;
use varve_gossip::MemoryNetwork;

/// A step of simulated time.
const STEP: Duration = Duration::from_millis(1);
/// No run takes longer, in simulated time.
const RUN_MAX: Duration = Duration::from_secs(3600);
/// Segments that a connection holds in flight.
const SEGMENTS_MAX: usize = 4096;

pub(super) struct World {
    pub(super) sim: Sim<'static>,
    pub(super) sites: Vec<Rc<Site>>,
    pub(super) gossip: MemoryNetwork,
    pub(super) journal: Journal,
    pub(super) latency_ms_max: u64,
    seed: u64,
    sync: Sync,
    certificates: Option<Certificates>,
}

impl World {
    pub(super) fn new(
        seed: u64,
        plan: &Plan,
        journal: &Journal,
        sync: Sync,
        certificates: Option<Certificates>,
    ) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .epoch(UNIX_EPOCH)
            .tick_duration(STEP)
            .simulation_duration(RUN_MAX)
            .enable_random_order()
            .tcp_capacity(SEGMENTS_MAX)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(Duration::from_millis(plan.latency_ms_max));
        let (sim, gossip) = (builder.build(), MemoryNetwork::new());
        let latency_ms_max = plan.latency_ms_max;
        let journal = journal.clone();
        let sites = Vec::new();
        let mut world = Self { sim, sites, gossip, journal, latency_ms_max, seed, sync, certificates };
        (0..plan.nodes).for_each(|_| world.add());
        world
    }

    /// Starts one more node, on an empty disk.
    pub(super) fn add(&mut self) {
        let number = self.sites.len() + 1;
        let (gossip, journal) = (self.gossip.clone(), self.journal.clone());
        let site = Site::new(number, self.seed, gossip, journal, self.sync, self.certificates.clone());
        self.journal.note(&format!("{} starts for the first time", site.name));
        let software = Rc::clone(&site);
        // It counts as starting from now on, not from its first step.
        site.state.replace(State::Starting);
        self.sim.host(site.name.clone(), move || Rc::clone(&software).live());
        self.sites.push(site);
    }

    /// Lets a step of time pass. Whether all clients are done.
    pub(super) fn step(&mut self) -> bool {
        match self.sim.step() {
            Ok(done) => done,
            Err(error) => {
                self.journal.complain(format!("the simulation itself failed: {error}"));
                true
            }
        }
    }

    /// Simulated milliseconds so far.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends a node without a warning. Where `silent` the others are not told by their connections either, as when a machine
    /// loses its power rather than a process its life.
    pub(super) fn crash(&mut self, number: usize, mode: CrashMode, silent: bool) {
        let site = Rc::clone(self.site(number));
        self.journal.note(&format!("{} crashes: {mode:?}, silent: {silent}", site.name));
        site.crash_disk(mode);
        site.state.replace(State::Down);
        let others: Vec<_> = self.host_names().into_iter().filter(|name| *name != site.name).collect();
        if silent {
            others.iter().for_each(|other| self.sim.hold(site.name.as_str(), other.as_str()));
        }
        self.sim.crash(site.name.as_str());
        if silent {
            // What was on its way, the farewells too, is gone.
            others.iter().for_each(|other| self.sim.partition(site.name.as_str(), other.as_str()));
            others.iter().for_each(|other| self.sim.repair(site.name.as_str(), other.as_str()));
        }
    }

    /// Starts a node anew, on its disk.
    pub(super) fn restart(&mut self, number: usize) {
        let site = Rc::clone(self.site(number));
        self.journal.note(&format!("{} starts", site.name));
        // Whatever of the last life is still around must not write.
        site.crash_disk(CrashMode::ProcessOnly);
        site.state.replace(State::Starting);
        self.sim.bounce(site.name.as_str());
    }

    /// Issues a new certificate to a node of a secured cluster, which goes on with the one before until it looks at its files.
    pub(super) fn renew_certificate(&self, number: usize) {
        let Some(certificates) = &self.certificates else { return };
        let name = name_of(number);
        self.journal.note(&format!("{name} gets a new certificate"));
        if let Err(error) = certificates.issue_to_node(&name) {
            self.journal.complain(format!("{name} gets no new certificate: {error}"));
        }
    }

    pub(super) fn site(&self, number: usize) -> &Rc<Site> {
        &self.sites[number - 1]
    }

    pub(super) fn numbers(&self) -> Vec<usize> {
        (1..=self.sites.len()).collect()
    }

    /// Every host that has links: nodes and clients.
    fn host_names(&self) -> Vec<String> {
        let nodes = self.sites.iter().map(|site| site.name.clone());
        nodes.chain(super::load::HOSTS.iter().map(|host| (*host).to_owned())).collect()
    }

    /// Every pair of nodes.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let count = self.sites.len();
        let pairs = (1..=count).flat_map(|one| (one + 1..=count).map(move |other| (one, other)));
        pairs.map(|(one, other)| (name_of(one), name_of(other))).collect()
    }
}

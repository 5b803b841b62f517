//! A node's place in the world: what outlives the node (disk, clock, name), and the software that its host runs.

use super::clock::SkewedClock;
use super::journal::Journal;
use super::network::SimNetwork;
use super::pace::{Paced, PacedSpawn};
use super::plan::{PORT, name_of};
use super::security::Certificates;
use crate::{NoSyncDisk, Sync};
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use varve_env::disk::{CrashMode, Disk, FaultyDisk};
use varve_env::{Blocking, Env, SeededEntropy};
use varve_gossip::{MemoryNetwork, Tags};
use varve_server::{Discovery, Node, NodeConfig};
use varve_telemetry::Telemetry;

/// What a node keeps free of its disk, for what it must write when appends have to wait.
pub(super) const RESERVE_BYTES: u64 = 1024 * 1024;

/// What a host does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: it was never started, has crashed, or was stopped.
    Down,
    /// It starts, and has not got through yet.
    Starting,
    /// It runs.
    Running,
    /// The node gave up by itself, for this reason.
    GaveUp(String),
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) clock: Arc<SkewedClock>,
    pub(super) pace: Arc<PacedSpawn>,
    pub(super) disk: RefCell<FaultyDisk>,
    pub(super) state: RefCell<State>,
    /// Whether the disk was set to fail, so that the node is right to give up.
    pub(super) disk_fails: Cell<bool>,
    /// Whether the node was told to stop, and has not been started since.
    pub(super) stops: Cell<bool>,
    /// Tells the node to stop: another one in each life, so that no life inherits what the last one was told.
    stop: RefCell<Rc<Notify>>,
    entropy: Arc<SeededEntropy>,
    gossip: MemoryNetwork,
    journal: Journal,
    sync: Sync,
    certificates: Option<Certificates>,
}

impl Site {
    pub(super) fn new(
        number: usize,
        seed: u64,
        gossip: MemoryNetwork,
        journal: Journal,
        sync: Sync,
        certificates: Option<Certificates>,
    ) -> Rc<Self> {
        let seed = seed ^ ((number as u64) << 40);
        Rc::new(Self {
            number,
            name: name_of(number),
            clock: Arc::default(),
            pace: Arc::new(PacedSpawn::new(seed)),
            disk: RefCell::new(FaultyDisk::new(seed)),
            state: RefCell::new(State::Down),
            disk_fails: Cell::new(false),
            stops: Cell::new(false),
            stop: RefCell::default(),
            entropy: Arc::new(SeededEntropy::new(seed ^ 0x656E)),
            gossip,
            journal,
            sync,
            certificates,
        })
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Starting | State::Running)
    }

    /// Has the node stop as on SIGTERM.
    pub(super) fn tell_to_stop(&self) {
        self.stops.set(true);
        self.stop.borrow().notify_one();
    }

    /// Leaves on the disk what a crash leaves, and nothing that was held open can be used any more.
    pub(super) fn crash_disk(&self, mode: CrashMode) {
        let after = self.disk.borrow().crash(mode);
        after.set_room(None);
        self.disk.replace(after);
        self.disk_fails.set(false);
        self.stops.set(false);
    }

    /// The host's software: a node, from its start to its end.
    pub(super) async fn live(self: Rc<Self>) -> turmoil::Result {
        self.state.replace(State::Starting);
        self.stop.replace(Rc::default());
        let end = match Node::start(self.env(), self.config()).await {
            Err(error) => State::GaveUp(format!("it did not start: {}", chain(&error))),
            Ok(node) => {
                self.state.replace(State::Running);
                self.journal.note(&format!("{} runs: {}", self.name, node.identity()));
                self.serve(node).await
            }
        };
        self.journal.note(&format!("{} has ended: {end:?}", self.name));
        self.state.replace(end);
        Ok(())
    }

    async fn serve(&self, node: Node) -> State {
        let stop = Rc::clone(&self.stop.borrow());
        tokio::select! {
            biased;
            failure = node.failed() => return State::GaveUp(chain(&failure)),
            () = stop.notified() => {}
        }
        match node.shutdown().await {
            Ok(()) => State::Down,
            Err(error) => State::GaveUp(format!("it did not stop cleanly: {}", chain(&error))),
        }
    }

    fn env(&self) -> Env {
        let disk = self.disk.borrow().clone();
        let disk: Arc<dyn Disk> = match self.sync {
            Sync::Honest => Arc::new(disk),
            Sync::Ignored => Arc::new(NoSyncDisk(disk)),
        };
        Env {
            clock: Arc::clone(&self.clock) as Arc<_>,
            entropy: Arc::clone(&self.entropy) as Arc<_>,
            spawn: Arc::new(Paced(Arc::clone(&self.pace))),
            blocking: Blocking::Inline,
            disk,
            network: Arc::new(SimNetwork),
            telemetry: Telemetry::off(),
        }
    }

    fn config(&self) -> NodeConfig {
        let octet = u8::try_from(self.number).unwrap_or(u8::MAX);
        let gossip_addr = SocketAddr::from(([10, 0, 0, octet], 8401));
        let membership = self.gossip.join(self.name.clone(), gossip_addr, Tags::new());
        let mut config = NodeConfig::new("/data");
        config.node_name = self.name.clone();
        config.rpc_addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        config.security = self.certificates.as_ref().map(|certificates| certificates.of_node(&self.name));
        config.insecure_serve_beyond_loopback = config.security.is_none();
        config.advertise_addr = Some(format!("{}:{PORT}", self.name));
        config.bootstrap = self.number == 1;
        config.discovery = Discovery::Given(Arc::new(membership));
        // No node is gone for good unless it is taken out.
        config.replacement_delay = Duration::from_secs(3600);
        config.drain_timeout = Duration::from_secs(2);
        config.storage.reserve_bytes = RESERVE_BYTES;
        config
    }
}

/// An error and all that caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

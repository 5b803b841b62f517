use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::network::Network;
use super::small_disk::SmallDisks;
use crate::support::{
    DEADLINE, Finished, Process, free_port, loopback_of_its_own, run, varve, varve_in, wait_until,
};

/// Lines of each node's log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;
/// The ports of a node that has an address of its own.
const RPC_PORT: u16 = 8400;
const GOSSIP_PORT: u16 = 8401;

/// Where the nodes of a fleet are.
enum Site {
    /// On an address that is this fleet's alone, so that the ports of a node that is down are taken by nobody.
    Loopback(Ipv4Addr),
    /// Each on a host of its own.
    Network(Network),
}

/// A cluster of processes. The logs are shown, and left, when the test fails.
pub(super) struct Fleet {
    dir: Option<TempDir>,
    site: Site,
    nodes: Vec<Node>,
    /// Those of the nodes that have one of their own, to be dropped before the directory that they are in.
    disks: SmallDisks,
    /// What each node is told beside what it has to be.
    settings: Vec<String>,
    /// What has been done to the nodes so far: processes that were killed, stopped or paused, disks that were wiped, and nodes
    /// that joined.
    faults: u32,
}

/// A node, whether it runs or not.
struct Node {
    name: String,
    host: Ipv4Addr,
    rpc_port: u16,
    gossip_port: u16,
    process: Option<Process>,
    stands_still: bool,
    /// Whether the other nodes cannot hear it, so that what it says of the cluster is not asked for.
    is_cut_off: bool,
    /// Whether it is to begin a cluster: only the first does, once.
    begins: bool,
}

impl Fleet {
    /// Three nodes, and a topic with a partition on all of them.
    pub(super) fn with_topic(topic: &str) -> Self {
        let mut fleet = Self::planned(&["n1", "n2", "n3"]);
        fleet.begin();
        fleet.make_topic(topic);
        fleet
    }

    /// As [`Fleet::with_topic`], with each node on a host of a network.
    pub(super) fn on_network(network: Network, topic: &str) -> Self {
        let mut fleet = Self::at(Site::Network(network), &["n1", "n2", "n3"]);
        fleet.begin();
        fleet.make_topic(topic);
        fleet
    }

    /// As [`Fleet::with_topic`], with each node on a small disk.
    pub(super) fn on_disks(disks: SmallDisks, topic: &str) -> Self {
        let mut fleet = Self::planned(&["n1", "n2", "n3"]);
        fleet.disks = disks;
        for name in ["n1", "n2", "n3"] {
            let dir = fleet.path(name);
            fleet.disks.make(&dir);
        }
        fleet.settings = ["--segment-bytes", "1MiB"].map(str::to_owned).into();
        fleet.begin();
        fleet.make_topic(topic);
        fleet
    }

    /// Nodes that do not run yet.
    pub(super) fn planned(names: &[&str]) -> Self {
        Self::at(Site::Loopback(loopback_of_its_own()), names)
    }

    fn at(site: Site, names: &[&str]) -> Self {
        let mut fleet = Self {
            dir: Some(tempfile::tempdir().unwrap()),
            site,
            nodes: Vec::new(),
            disks: SmallDisks::default(),
            settings: Vec::new(),
            faults: 0,
        };
        run(varve(&["gossip", "keygen"]).arg(fleet.path("gossip.key"))).ok();
        names.iter().for_each(|name| fleet.know(name));
        fleet
    }

    /// Starts all nodes as a new cluster.
    pub(super) fn begin(&mut self) {
        self.nodes[0].begins = true;
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        self.start_all(&names.iter().map(String::as_str).collect::<Vec<_>>());
        self.nodes[0].begins = false;
    }

    /// A partition with three replicas.
    pub(super) fn make_topic(&self, topic: &str) {
        self.make_topic_on(topic, 3);
    }

    /// A partition with so many replicas, or as many as there can be.
    pub(super) fn make_topic_on(&self, topic: &str, replicas: u32) {
        self.run(&["topic", "create", topic, "--replication-factor", &replicas.to_string()]).ok();
        self.wait_until_healthy();
    }

    /// Adds a node to the cluster.
    pub(super) fn join(&mut self, name: &str) {
        self.faults += 1;
        self.know(name);
        self.start(name);
    }

    /// Starts a node, and waits until it is ready.
    pub(super) fn start(&mut self, name: &str) {
        wait_for_ready(&self.spawn(name));
    }

    /// Takes a node away, and waits until it has ended by itself.
    pub(super) fn decommission(&mut self, name: &str) {
        self.faults += 1;
        self.run(&["cluster", "decommission", name, "--wait=2m"]).ok();
        let code = self.node_mut(name).process.take().unwrap().wait().code();
        assert_eq!(code, Some(0), "{name} was taken away, and did not end as one that is done");
    }

    /// Whether a node's process has not ended.
    pub(super) fn runs(&mut self, name: &str) -> bool {
        self.node_mut(name).process.as_mut().is_some_and(Process::runs)
    }

    /// Starts these nodes together: none of them may be able to get ready without another.
    pub(super) fn start_all(&mut self, names: &[&str]) {
        let started: Vec<_> = names.iter().map(|name| self.spawn(name)).collect();
        started.iter().for_each(wait_for_ready);
    }

    /// SIGKILL to all of these at once.
    pub(super) fn kill(&mut self, names: &[&str]) {
        let ids: Vec<String> = names.iter().map(|name| self.process(name).id()).collect();
        assert!(Command::new("kill").args(["-s", "KILL"]).args(ids).status().unwrap().success());
        for name in names {
            self.faults += 1;
            self.node_mut(name).process.take().unwrap().wait();
        }
    }

    /// SIGTERM, and waits until it has ended well.
    pub(super) fn stop(&mut self, name: &str) {
        self.faults += 1;
        let mut process = self.node_mut(name).process.take().unwrap();
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0), "{name} did not end well");
    }

    /// SIGSTOP.
    pub(super) fn pause(&mut self, name: &str) {
        self.faults += 1;
        self.process(name).signal("STOP");
        self.node_mut(name).stands_still = true;
    }

    /// SIGCONT.
    pub(super) fn resume(&mut self, name: &str) {
        self.process(name).signal("CONT");
        self.node_mut(name).stands_still = false;
    }

    /// Cuts the links between a node and all others. Clients reach it still.
    pub(super) fn isolate(&mut self, name: &str) {
        self.network().isolate(name);
        self.node_mut(name).is_cut_off = true;
    }

    /// Mends the network.
    pub(super) fn heal(&mut self) {
        self.network().heal();
        self.nodes.iter_mut().for_each(|node| node.is_cut_off = false);
    }

    /// What lies between the nodes, of a fleet that is on a network.
    pub(super) fn network(&mut self) -> &mut Network {
        match &mut self.site {
            Site::Network(network) => network,
            Site::Loopback(_) => panic!("this fleet is on loopback, which cannot be broken"),
        }
    }

    /// Bytes of memory that a node has in use.
    pub(super) fn memory_bytes(&self, name: &str) -> u64 {
        let id = self.process(name).id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Removes all that a node, which does not run, has kept.
    pub(super) fn wipe(&mut self, name: &str) {
        self.faults += 1;
        assert!(self.node(name).process.is_none());
        std::fs::remove_dir_all(self.path(name)).unwrap();
    }

    /// How much has been done to the nodes.
    pub(super) fn faults(&self) -> u32 {
        let of_network = match &self.site {
            Site::Network(network) => network.faults(),
            Site::Loopback(_) => 0,
        };
        self.faults + of_network
    }

    /// Counts something that a test has done to the nodes by itself.
    pub(super) fn count_fault(&mut self) {
        self.faults += 1;
    }

    /// Where a node is, as host:port.
    pub(super) fn rpc_addr(&self, name: &str) -> String {
        let node = self.node(name);
        format!("{}:{}", node.host, node.rpc_port)
    }

    /// The address of the cluster: all nodes that run, do not stand still, and are not cut off.
    pub(super) fn address(&self) -> String {
        let running = self.nodes.iter().filter(|node| node.runs());
        let addrs: Vec<String> = running.map(|node| self.rpc_addr(&node.name)).collect();
        format!("varve://{}", addrs.join(","))
    }

    /// A command that talks to the nodes that run.
    pub(super) fn varve(&self, args: &[&str]) -> Command {
        let mut command = varve(args);
        command.env("VARVE_SERVER", self.address());
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Finished {
        run(&mut self.varve(args))
    }

    pub(super) fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["-o", "json"]].concat()).ok().json()
    }

    /// A file in the fleet's directory, in which each node's is named for it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.as_ref().unwrap().path().join(name)
    }

    pub(super) fn wait_until_healthy(&self) {
        self.run(&["cluster", "health", "--wait=2m"]).ok();
    }

    /// The node that leads partition 0 of a topic, once one that runs does.
    pub(super) fn leader_of(&self, topic: &str) -> String {
        let mut leader = None;
        wait_until("a node that runs leads", || {
            let id = self.partition_of(topic)["leader"].as_u64();
            leader = id.and_then(|id| self.name_of(id)).filter(|name| self.node(name).runs());
            leader.is_some()
        });
        leader.unwrap()
    }

    /// The term in which partition 0 of a topic is led.
    pub(super) fn term_of(&self, topic: &str) -> u64 {
        self.leader_of(topic);
        self.partition_of(topic)["term"].as_u64().unwrap()
    }

    /// The two that do not lead partition 0 of a topic.
    pub(super) fn followers_of(&self, topic: &str) -> Vec<String> {
        let leader = self.leader_of(topic);
        self.replicas_of(topic).into_iter().filter(|name| *name != leader).collect()
    }

    /// The nodes that are to hold partition 0 of a topic.
    pub(super) fn replicas_of(&self, topic: &str) -> Vec<String> {
        let partition = self.partition_of(topic);
        let ids = partition["replicas"].as_array().unwrap().iter();
        ids.map(|id| self.name_of(id.as_u64().unwrap()).unwrap()).collect()
    }

    /// The id of the node that has a name now.
    pub(super) fn id_of(&self, name: &str) -> u64 {
        let members = self.json(&["cluster", "members"]);
        let named = members.as_array().unwrap().iter().filter(|member| member["name"] == name);
        named.filter_map(|member| member["id"].as_u64()).max().unwrap()
    }

    fn name_of(&self, id: u64) -> Option<String> {
        let members = self.json(&["cluster", "members"]);
        let member = members.as_array().unwrap().iter().find(|member| member["id"] == id)?;
        Some(member["name"].as_str()?.to_owned())
    }

    /// Partition 0 of a topic, as it is described.
    pub(super) fn partition_of(&self, topic: &str) -> Value {
        self.json(&["topic", "describe", topic])["partitions"][0].clone()
    }

    fn know(&mut self, name: &str) {
        let (host, rpc_port, gossip_port) = match &self.site {
            Site::Loopback(host) => {
                let rpc_port = self.free_port(*host, 0);
                (*host, rpc_port, self.free_port(*host, rpc_port))
            }
            Site::Network(network) => (network.ip(name), RPC_PORT, GOSSIP_PORT),
        };
        self.nodes.push(Node {
            name: name.to_owned(),
            host,
            rpc_port,
            gossip_port,
            process: None,
            stands_still: false,
            is_cut_off: false,
            begins: false,
        });
    }

    fn free_port(&self, host: Ipv4Addr, taken: u16) -> u16 {
        let is_ours = |port: u16| {
            port == taken || self.nodes.iter().any(|node| [node.rpc_port, node.gossip_port].contains(&port))
        };
        loop {
            let port = free_port(host);
            if !is_ours(port) {
                return port;
            }
        }
    }

    /// Starts a node. What is given back says when it is ready.
    pub(super) fn spawn(&mut self, name: &str) -> Receiver<()> {
        let node = self.node(name);
        assert!(node.process.is_none(), "{name} runs already");
        let join: Vec<String> =
            self.nodes.iter().map(|node| format!("{}:{}", node.host, node.gossip_port)).collect();
        let args = ["server", "--node-name", name, "--log-format", "json"];
        let mut command = match &self.site {
            Site::Loopback(_) => varve(&args),
            Site::Network(network) => varve_in(&network.namespace(name), &args),
        };
        command.arg("--data-dir").arg(self.path(name)).arg("--gossip-key-file").arg(self.path("gossip.key"));
        command.args(["--bind-addr", &format!("{}:{}", node.host, node.gossip_port)]);
        command.args(["--rpc-port", &node.rpc_port.to_string()]).args(&self.settings);
        if !node.host.is_loopback() {
            command.arg("--insecure-serve-beyond-loopback");
        }
        match node.begins {
            true => command.arg("--bootstrap"),
            false => command.args(["--start-join-addrs", &join.join(",")]),
        };
        let mut process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let ready = keep_log(process.stderr(), self.log(name));
        self.node_mut(name).process = Some(process);
        ready
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    fn process(&self, name: &str) -> &Process {
        self.node(name).process.as_ref().unwrap_or_else(|| panic!("{name} does not run"))
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap()
    }

    fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name == name).unwrap()
    }

    fn show_logs(&self) {
        for node in &self.nodes {
            let log = std::fs::read_to_string(self.log(&node.name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the end of {}'s log:", node.name);
            lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Node {
    fn runs(&self) -> bool {
        self.process.is_some() && !self.stands_still && !self.is_cut_off
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(|node| drop(node.process.take()));
        self.disks = SmallDisks::default();
        if thread::panicking() {
            self.show_logs();
            let kept = self.dir.take().unwrap().keep();
            eprintln!("--- all that the nodes kept and said is in {}", kept.display());
        }
    }
}

pub(super) fn wait_for_ready(ready: &Receiver<()>) {
    assert!(ready.recv_timeout(DEADLINE).is_ok(), "a node does not get ready");
}

/// Writes what a node says to its log, and tells when it says that it is ready.
fn keep_log(lines: Receiver<Vec<u8>>, path: PathBuf) -> Receiver<()> {
    let mut log = File::options().create(true).append(true).open(path).unwrap();
    let (sender, ready) = channel();
    thread::spawn(move || {
        for line in lines {
            // What cannot be kept is not shown.
            let _ = log.write_all(&line);
            let event: Option<Value> = serde_json::from_slice(&line).ok();
            if event.is_some_and(|event| event["target"] == "varve::ready") {
                // Nobody may be waiting any more.
                let _ = sender.send(());
            }
        }
    });
    ready
}

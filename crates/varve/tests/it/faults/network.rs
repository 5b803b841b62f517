//! Hosts on a network that can be broken.
//!
//! Each host is a network namespace, and all hang on a bridge in one more, where every fault is made: frames from one port of
//! the bridge to another are dropped by nftables, ports are narrowed by a token bucket, and taken down. The namespaces are the
//! network's own, so that no two tests meet, whatever addresses they use.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{random, run, run_with_input};

/// The host that the test itself, and all that it starts, is on.
const CLIENT: &str = "client";
/// Where the bridge is.
const HUB: &str = "hub";
/// What the names of all namespaces of tests begin with.
const PREFIX: &str = "varve-test-";
/// The most that a narrowed port lets through at once, in bytes: a frame of the largest size.
const BURST_BYTES: u32 = 16 * 1024;

/// A network of hosts, and what is wrong with it. It is gone when it is dropped.
pub(super) struct Network {
    name: String,
    hosts: Vec<&'static str>,
    /// What the bridge drops, as conditions of nftables.
    dropped: BTreeSet<String>,
    narrowed: BTreeSet<String>,
    faults: u32,
}

/// Runs a test on a host of a network with these others, where this machine lets us make one, and says so where it does not.
pub(super) fn on_network(hosts: &[&'static str], test: impl FnOnce(Network) + Send) {
    if let Err(reason) = is_possible() {
        return say_not_run(&reason);
    }
    // On a thread of its own: this one goes on where it is. Those that it starts, and processes, are where it is.
    thread::scope(|scope| {
        let network = Network::new(hosts);
        let ran = scope.spawn(|| {
            network.enter(CLIENT);
            test(network);
        });
        if let Err(panic) = ran.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Says that the test of this thread is not run, and why. Not by `eprintln`, which nobody sees of a test that does not fail.
pub(super) fn say_not_run(reason: &str) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "NOT RUN: {name}: {reason}");
}

fn is_possible() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("it needs network namespaces, which only Linux has".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root, to make network namespaces".to_owned());
    }
    for (tool, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.map_err(|_| format!("there is no `{tool}` (Debian: {package})"))?;
    }
    sweep();
    let network = Network::empty();
    let table =
        run_with_input(&mut network.on(HUB, &["nft", "-f", "-"]), ruleset(["ip daddr 10.0.0.1"]).as_bytes());
    match table.code {
        Some(0) => Ok(()),
        _ => Err(format!("this kernel filters no bridges: {}", table.stderr.trim())),
    }
}

impl Network {
    fn new(hosts: &[&'static str]) -> Self {
        let mut network = Self::empty();
        network.ip_on(HUB, "link add bridge type bridge");
        network.ip_on(HUB, "link set bridge up");
        for host in hosts.iter().chain(&[CLIENT]) {
            network.hosts.push(host);
            network.add(host);
        }
        network
    }

    /// A hub, and nothing else.
    fn empty() -> Self {
        // The process's number tells what an earlier run left behind.
        let name = format!("{PREFIX}{}-{:x}", std::process::id(), random() % 0x1000_0000);
        let (hosts, dropped, narrowed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let network = Self { name, hosts, dropped, narrowed, faults: 0 };
        ip(&format!("netns add {}", network.namespace(HUB)));
        network
    }

    fn add(&self, host: &str) {
        let namespace = self.namespace(host);
        ip(&format!("netns add {namespace}"));
        self.ip_on(HUB, &format!("link add {host} type veth peer name eth0 netns {namespace}"));
        self.ip_on(HUB, &format!("link set {host} master bridge up"));
        self.ip_on(host, &format!("addr add {}/24 dev eth0", self.ip(host)));
        self.ip_on(host, "link set eth0 up");
        self.ip_on(host, "link set lo up");
    }

    /// The address of a host.
    pub(super) fn ip(&self, host: &str) -> Ipv4Addr {
        let number =
            self.hosts.iter().position(|known| *known == host).unwrap_or_else(|| panic!("no host {host}"));
        Ipv4Addr::new(10, 0, 0, u8::try_from(number + 1).unwrap())
    }

    /// The namespace of a host, by its name for `ip netns`.
    pub(super) fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// How much was done to the network.
    pub(super) fn faults(&self) -> u32 {
        self.faults
    }

    /// Drops all that goes between two hosts.
    pub(super) fn partition(&mut self, one: &str, other: &str) {
        self.break_it([(one, other), (other, one)].map(|(from, to)| way(from, to)));
    }

    /// Drops all that goes from one host to another, and nothing of what comes back. TCP needs both, and so every connection
    /// between them stands still; gossip by UDP is heard one way.
    pub(super) fn one_way(&mut self, from: &str, to: &str) {
        self.break_it([way(from, to)]);
    }

    /// Drops what opens connections from one host to another, and its gossip by UDP. Connections that there are go on.
    pub(super) fn no_new_ways(&mut self, from: &str, to: &str) {
        let way = way(from, to);
        let opens = format!("{way} ip protocol tcp tcp flags & (syn | ack) == syn");
        self.break_it([opens, format!("{way} ip protocol udp")]);
    }

    /// Cuts a host off from all others but the client.
    pub(super) fn isolate(&mut self, host: &str) {
        let others = self.hosts.iter().filter(|other| **other != host && **other != CLIENT);
        let ways = others.flat_map(|other| [way(host, other), way(other, host)]).collect::<Vec<_>>();
        self.break_it(ways);
    }

    /// Loses so many in a hundred of all frames, whoever sends them.
    pub(super) fn lossy(&mut self, percent: u32) {
        self.break_it([format!("ether type ip numgen random mod 100 < {percent}")]);
    }

    /// Lets no more than so many kilobits a second through to a host.
    pub(super) fn slow(&mut self, host: &str, kilobits: u32) {
        self.faults += 1;
        let bucket = format!(
            "qdisc replace dev {host} root tbf rate {kilobits}kbit burst {BURST_BYTES} latency 400ms"
        );
        let args: Vec<&str> = ["tc"].into_iter().chain(bucket.split(' ')).collect();
        run(&mut self.on(HUB, &args)).ok();
        self.narrowed.insert(host.to_owned());
    }

    /// Pulls a host's cable and puts it back again and again, so many times. How long it is out and in is the fault.
    pub(super) fn flap(&mut self, host: &str, times: u32, down: Duration, up: Duration) {
        for _ in 0..times {
            self.faults += 1;
            self.ip_on(HUB, &format!("link set {host} down"));
            thread::sleep(down);
            self.ip_on(HUB, &format!("link set {host} up"));
            thread::sleep(up);
        }
    }

    /// Mends everything.
    pub(super) fn heal(&mut self) {
        self.dropped.clear();
        self.filter();
        for host in std::mem::take(&mut self.narrowed) {
            run(&mut self.on(HUB, &["tc", "qdisc", "del", "dev", &host, "root"])).ok();
        }
    }

    fn break_it(&mut self, conditions: impl IntoIterator<Item = String>) {
        self.faults += 1;
        self.dropped.extend(conditions);
        self.filter();
    }

    /// Has the bridge drop what it is to drop, from one moment to the next.
    fn filter(&self) {
        let rules = ruleset(self.dropped.iter().map(String::as_str));
        run_with_input(&mut self.on(HUB, &["nft", "-f", "-"]), rules.as_bytes()).ok();
    }

    /// Moves this thread to a host.
    fn enter(&self, host: &str) {
        enter(&File::open(Path::new("/run/netns").join(self.namespace(host))).unwrap());
    }

    fn ip_on(&self, host: &str, args: &str) {
        ip(&format!("-n {} {args}", self.namespace(host)));
    }

    fn on(&self, host: &str, command: &[&str]) -> Command {
        let mut on_host = Command::new("ip");
        on_host.args(["netns", "exec", &self.namespace(host)]).args(command);
        on_host
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // With a namespace goes all that is in it.
        for host in self.hosts.iter().chain(&[HUB]) {
            // Where this fails there is nothing to be done: the next run sweeps.
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(host)]).status();
        }
    }
}

#[cfg(target_os = "linux")]
fn enter(namespace: &File) {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;

    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn enter(_namespace: &File) {
    unreachable!("there are no namespaces, and it was asked before");
}

/// Frames from one host to another, as a condition of nftables.
fn way(from: &str, to: &str) -> String {
    format!("iifname \"{from}\" oifname \"{to}\"")
}

fn ruleset<'a>(dropped: impl IntoIterator<Item = &'a str>) -> String {
    let drops: String = dropped.into_iter().map(|condition| format!("{condition} drop\n")).collect();
    let chain = format!("chain passing {{\ntype filter hook forward priority 0; policy accept;\n{drops}}}\n");
    format!("table bridge faults\ndelete table bridge faults\ntable bridge faults {{\n{chain}}}\n")
}

/// Removes what a run that was killed has left, with all processes that are still on its hosts.
fn sweep() {
    let listed = run(Command::new("ip").args(["netns", "list"])).ok();
    let left =
        listed.text().lines().filter_map(|line| line.split_whitespace().next()).filter(|name| is_left(name));
    for name in left {
        let pids = run(Command::new("ip").args(["netns", "pids", name]));
        for pid in pids.text().split_whitespace() {
            // It may have ended.
            let _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(Stdio::null()).status();
        }
        // Another test may sweep as well.
        let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
    }
}

/// Whether a namespace is a test's whose process is gone.
fn is_left(namespace: &str) -> bool {
    let process = namespace.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    process.is_some_and(|id| !Path::new("/proc").join(id).exists())
}

fn ip(args: &str) {
    run(Command::new("ip").args(args.split(' '))).ok();
}

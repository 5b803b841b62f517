//! Servers, each in a process of its own.

use crate::Failure;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use varve_client::{Client, ProducerRecord, api::v1};

/// Servers that are no cluster by then have failed.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two looks whether they are one; a connection that is refused costs nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// The same where there are more partitions than a few: a look costs the servers something for each.
const LOOK_INTERVAL_MANY: Duration = Duration::from_millis(100);
const PARTITIONS_FEW_MAX: u32 = 10;
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the system is asked for a port that is free for TCP and UDP alike.
const FREE_PORT_TRIES: usize = 100;

/// Running servers that are one cluster; they are stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    children: Vec<Child>,
    address: String,
}

/// What the servers have used of the machine since they were started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Time on processors, all of them together.
    pub(crate) cpu: Duration,
    /// Bytes of memory (the resident set) of the one that holds most.
    pub(crate) memory_bytes_max: u64,
    /// The same of all of them together.
    pub(crate) memory_bytes: u64,
    /// Their threads.
    pub(crate) threads: u64,
}

/// Ports of one server, held until all are known, so that they differ.
struct Ports {
    rpc: TcpListener,
    gossip: TcpListener,
}

impl Servers {
    /// Starts so many on empty directories and produces one record to all of them. Gives the time from the start to its
    /// acknowledgement.
    pub(crate) async fn start(
        binary: &Path,
        dir: &Path,
        count: usize,
    ) -> Result<(Self, Client, Duration), Failure> {
        Self::start_with(binary, dir, count, &[]).await
    }

    /// The same, each with these flags besides.
    pub(crate) async fn start_with(
        binary: &Path,
        dir: &Path,
        count: usize,
        flags: &[&str],
    ) -> Result<(Self, Client, Duration), Failure> {
        let held = (0..count).map(|_| Ports::free()).collect::<Result<Vec<_>, _>>()?;
        let numbers = held.iter().map(Ports::numbers).collect::<Result<Vec<_>, _>>()?;
        drop(held);
        let key = if count > 1 { Some(make_key(binary, dir)?) } else { None };
        let members: Vec<_> = numbers.iter().map(|(rpc, _)| format!("127.0.0.1:{rpc}")).collect();
        let mut servers = Self { children: Vec::new(), address: format!("varve://{}", members.join(",")) };
        let started = Instant::now();
        let mut first_gossip: Option<String> = None;
        for (number, (rpc, gossip)) in (1..).zip(numbers) {
            let name = format!("node-{number}");
            let mut command = Command::new(binary);
            command.args(["--quiet", "server", "--stop-with-stdin", "--node-name", &name]).args(flags);
            command.arg("--data-dir").arg(dir.join(&name)).args(["--rpc-port", &rpc.to_string()]);
            let gossip = format!("127.0.0.1:{gossip}");
            if let Some(key) = &key {
                command.arg("--gossip-key-file").arg(key).args(["--bind-addr", &gossip]);
            }
            match &first_gossip {
                None => command.arg("--bootstrap"),
                Some(first) => command.args(["--start-join-addrs", first]),
            };
            first_gossip.get_or_insert(gossip);
            servers.children.push(spawn(command, binary)?);
        }
        let client = servers.until_first_record(started).await?;
        Ok((servers, client, started.elapsed()))
    }

    /// A client whose calls may take so long.
    pub(crate) async fn client(&self, call_timeout: Duration) -> Result<Client, Failure> {
        Ok(Client::builder()
            .call_timeout(call_timeout)
            .attempt_timeout(call_timeout)
            .connect(&self.address)
            .await?)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.children.len()
    }

    /// What they have used until now.
    pub(crate) fn used(&self) -> Result<Used, Failure> {
        let mut used = Used { cpu: Duration::ZERO, memory_bytes_max: 0, memory_bytes: 0, threads: 0 };
        for child in &self.children {
            let memory_bytes = status(child.id(), "VmRSS:")? * 1024;
            used.cpu += cpu(child.id())?;
            used.memory_bytes_max = used.memory_bytes_max.max(memory_bytes);
            used.memory_bytes += memory_bytes;
            used.threads += status(child.id(), "Threads:")?;
        }
        Ok(used)
    }

    /// Kills the one that was started first, which leads the controller as a rule, without a word.
    pub(crate) fn kill_first(&mut self) -> Result<(), Failure> {
        let first = self.children.first_mut().ok_or("there is no server")?;
        first.kill()?;
        first.wait()?;
        Ok(())
    }

    /// Returns once all of them take part in everything. Looks at an interval: the more there is to look at, the more a look
    /// takes away from what it waits for.
    async fn until_healthy(
        &self,
        client: &Client,
        interval: Duration,
        time_max: Duration,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let health = client.cluster_health().await?;
            let servers = client.servers().await?.servers;
            let voting = servers.iter().filter(|server| server.alive && server.controller_voter).count();
            if health.healthy && voting == self.count() {
                return Ok(());
            }
            if started.elapsed() > time_max {
                return Err(format!("{voting} servers vote; problems: {:?}", health.problems).into());
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn until_first_record(&self, started: Instant) -> Result<Client, Failure> {
        loop {
            match self.try_first_record().await {
                Ok(client) => return Ok(client),
                Err(error) if started.elapsed() > START_TIMEOUT => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    async fn try_first_record(&self) -> Result<Client, Failure> {
        for member in self.address.trim_start_matches("varve://").split(',') {
            drop(tokio::net::TcpStream::connect(member).await?);
        }
        // A new client each time: one that has met a server too early would wait before it tries again.
        let client = Client::builder().call_timeout(LOOK_TIMEOUT).connect(&self.address).await?;
        self.until_healthy(&client, LOOK_INTERVAL, START_TIMEOUT).await?;
        let client = Client::connect(&self.address).await?;
        let producer = client.producer("first").build().await?;
        producer.send(ProducerRecord::new("x")).await?.await?;
        producer.close().await?;
        Ok(client)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The end of its input tells a server to stop: all at the same time.
        self.children.iter_mut().for_each(|child| drop(child.stdin.take()));
        let deadline = Instant::now() + STOP_TIMEOUT;
        for child in &mut self.children {
            while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK_INTERVAL);
            }
            // It has ended by itself, as a rule, and then this does nothing.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Ports {
    fn free() -> Result<Self, Failure> {
        for _ in 0..FREE_PORT_TRIES {
            let (rpc, gossip) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
            if UdpSocket::bind(gossip.local_addr()?).is_ok() {
                return Ok(Self { rpc, gossip });
            }
        }
        Err("no port is free for TCP and UDP alike".into())
    }

    fn numbers(&self) -> Result<(u16, u16), Failure> {
        Ok((self.rpc.local_addr()?.port(), self.gossip.local_addr()?.port()))
    }
}

/// Creates a topic with a replica on each of the servers, and returns once all of them have theirs.
pub(crate) async fn create_topic(
    servers: &Servers,
    client: &Client,
    name: &str,
    partitions: u32,
) -> Result<(), Failure> {
    create_topic_within(servers, client, name, partitions, START_TIMEOUT).await
}

/// The same, within a time.
pub(crate) async fn create_topic_within(
    servers: &Servers,
    client: &Client,
    name: &str,
    partitions: u32,
    time_max: Duration,
) -> Result<(), Failure> {
    let replication_factor = u32::try_from(servers.count())?;
    let request =
        v1::CreateTopicRequest { name: name.to_owned(), partitions, replication_factor, settings: None };
    client.create_topic(request).await?;
    let interval = if partitions > PARTITIONS_FEW_MAX { LOOK_INTERVAL_MANY } else { LOOK_INTERVAL };
    servers.until_healthy(client, interval, time_max).await
}

fn spawn(mut command: Command, binary: &Path) -> Result<Child, Failure> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.map_err(|error| {
        format!("cannot start {}: {error} (cargo build --release makes it)", binary.display()).into()
    })
}

fn make_key(binary: &Path, dir: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("gossip.key");
    let made = Command::new(binary).args(["--quiet", "gossip", "keygen"]).arg(&path).output()?;
    if !made.status.success() {
        return Err(format!("no gossip key: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    Ok(path)
}

/// The time that a process has had processors, to the nanosecond, without its threads that have ended.
fn cpu(process: u32) -> Result<Duration, Failure> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between the list and the look.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_cpu = stat.split_whitespace().next().ok_or("schedstat is empty")?;
        nanos += on_cpu.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// A number that the kernel tells of a process.
fn status(process: u32, name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("a line is missing in /proc")?;
    Ok(line.split_whitespace().nth(1).ok_or("a line of /proc has no value")?.parse()?)
}

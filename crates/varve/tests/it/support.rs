//! Processes that end with their test, and never outlive a deadline.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::pki::Pki;

/// Generous: it bounds a test that hangs, and says nothing of how long anything takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

const BINARY: &str = env!("CARGO_BIN_EXE_varve");

/// Nothing is ever made there, so that no test meets the contexts of a user, or of another test.
const NO_CONFIG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-config");

/// The binary, in an environment that says nothing to it.
pub(crate) fn varve(args: &[&str]) -> Command {
    undisturbed(Command::new(BINARY), args)
}

/// The same in a network namespace. It is the process itself that is started, not its parent.
pub(crate) fn varve_in(namespace: &str, args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, BINARY]);
    undisturbed(command, args)
}

fn undisturbed(mut command: Command, args: &[&str]) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VARVE_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).env("XDG_CONFIG_HOME", NO_CONFIG);
    // For whoever hunts a failure; servers alone heed it.
    if let Some(dir) = std::env::var_os("VARVE_TEST_TRACE").filter(|dir| !dir.is_empty()) {
        command.env("VARVE_LOG_LEVEL", "debug").env("VARVE_TRACE_RATIO", "1");
        command.env("VARVE_TRACE_FILE", Path::new(&dir).join("varve.spans.jsonl"));
    }
    command
}

/// A child that is killed when it is dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn stdout(&mut self) -> Receiver<Vec<u8>> {
        lines(self.0.stdout.take().unwrap())
    }

    pub(crate) fn stderr(&mut self) -> Receiver<Vec<u8>> {
        lines(self.0.stderr.take().unwrap())
    }

    pub(crate) fn take_stdout(&mut self) -> Stdio {
        self.0.stdout.take().unwrap().into()
    }

    /// Closes its standard input, which must be a pipe.
    pub(crate) fn end_stdin(&mut self) {
        drop(self.0.stdin.take().unwrap());
    }

    /// Its number, for `kill`.
    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end of a process whose outputs are closed, or not ours.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let (ended, watch) = channel::<()>();
        let id = self.id();
        let watchdog = thread::spawn(move || {
            let timed_out = watch.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout);
            if timed_out {
                drop(Command::new("kill").args(["-s", "KILL", &id]).status());
            }
            timed_out
        });
        let status = self.0.wait().unwrap();
        drop(ended);
        assert!(!watchdog.join().unwrap(), "the process does not end");
        status
    }

    fn finish(mut self) -> Finished {
        let stdout = collect(self.0.stdout.take().unwrap());
        let stderr = collect(self.0.stderr.take().unwrap());
        let deadline = Instant::now() + DEADLINE;
        let mut take = |from: Receiver<Vec<u8>>| match from.recv_timeout(deadline - Instant::now()) {
            Ok(bytes) => bytes,
            Err(_) => {
                let _ = self.0.kill();
                panic!("the process does not end");
            }
        };
        let (stdout, stderr) = (take(stdout), take(stderr));
        let code = self.wait().code();
        Finished { code, stdout, stderr: String::from_utf8(stderr).unwrap() }
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", String::from_utf8_lossy(&self.stdout), self.stderr);
        self
    }

    /// Ends with this code, and says this in one line on standard error, perhaps with a hint.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let error = self.stderr.lines().find(|line| line.starts_with("error: "));
        assert!(error.is_some_and(|line| line.contains(says)), "{says:?} is not in: {}", self.stderr);
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Finished {
    Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).finish()
}

/// Runs a command that reads this.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Finished {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(piped);
    let mut stdin = process.0.stdin.take().unwrap();
    let input = input.to_vec();
    // Whether it was all read is told by what the command does.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let finished = process.finish();
    let _ = writer.join();
    finished
}

/// A server on a free port.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
    /// The line that says that it is ready.
    pub(crate) ready: serde_json::Value,
    /// What its clients have in their environment.
    variables: Vec<(&'static str, String)>,
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &["--rpc-port", "0"])
    }

    pub(crate) fn start_with(dir: &Path, args: &[&str]) -> Self {
        let mut command = varve(&["server", "--bootstrap", "--data-dir", dir.to_str().unwrap()]);
        Self::start_command(command.args(args))
    }

    /// One that is secured, whose clients are `root`.
    pub(crate) fn start_secured(dir: &Path, pki: &Pki) -> Self {
        let mut command = varve(&["server", "--bootstrap", "--rpc-port", "0", "--data-dir"]);
        let server = Self::start_command(command.arg(dir).args(pki.server_flags()));
        Self { variables: pki.variables("root"), ..server }
    }

    pub(crate) fn start_command(command: &mut Command) -> Self {
        let mut process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let stderr = process.stderr();
        let mut said = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match stderr.recv_timeout(deadline - Instant::now()) {
                Ok(line) => {
                    let event: Option<serde_json::Value> = serde_json::from_slice(&line).ok();
                    if let Some(ready) = event.filter(|event| event["target"] == "varve::ready") {
                        let address = ready["address"].as_str().unwrap().to_owned();
                        return Self { process, address, ready, variables: Vec::new() };
                    }
                    said.extend(line);
                }
                Err(error) => {
                    let why = if error == RecvTimeoutError::Timeout { "is not ready" } else { "ended" };
                    panic!("the server {why}: {}", String::from_utf8_lossy(&said));
                }
            }
        }
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// A command that talks to it.
    pub(crate) fn varve(&self, args: &[&str]) -> Command {
        let mut command = varve(args);
        command.env("VARVE_SERVER", &self.address).envs(self.variables.iter().cloned());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        run(&mut self.varve(args))
    }

    /// Produces this as lines.
    #[track_caller]
    pub(crate) fn produce(&self, args: &[&str], input: &[u8]) -> Finished {
        run_with_input(self.varve(&["produce"]).args(args), input).ok()
    }

    /// The offset after the last record of partition 0.
    pub(crate) fn end_of(&self, topic: &str) -> u64 {
        let topic = self.run(&["topic", "describe", topic, "-o", "json"]);
        if topic.code == Some(0) {
            topic.json()["partitions"][0]["high_watermark"].as_u64().unwrap()
        } else {
            0
        }
    }
}

/// Asks again and again, with what is asked as the pause.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "it does not come about that {what}");
    }
}

/// An address on loopback that nobody else uses, so that ports on it stay free while nobody listens. Where there is only one
/// address on loopback, that one.
pub(crate) fn loopback_of_its_own() -> Ipv4Addr {
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST;
    }
    let [_, _, _, _, _, a, b, c] = random().to_be_bytes();
    // Neither the one that all use, nor one that could stand for a network.
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

/// A port that is free for TCP and UDP alike, and that the system gives to nobody who does not name it.
pub(crate) fn free_port(host: Ipv4Addr) -> u16 {
    loop {
        let port = 10_000 + u16::try_from(random() % 20_000).unwrap();
        if TcpListener::bind((host, port)).is_ok() && UdpSocket::bind((host, port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Lines as they come, with their ends.
fn lines(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            // Goes on reading when nobody listens, so that the process never stands still for a full pipe.
            match from.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => drop(sender.send(line)),
            }
        }
    });
    receiver
}

/// All there is, once it has ended.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        if from.read_to_end(&mut all).is_ok() {
            drop(sender.send(all));
        }
    });
    receiver
}

//! `varve dev`: a cluster on this machine, of real processes of this program.
//!
//! [`home`] is the directory that it lives in, [`credentials`] makes what it is secured by, [`ports`] chooses where its nodes
//! listen, [`process`] runs one of them, [`ready`] waits until they are a cluster, [`selection`] keeps the context, and
//! [`announce`] says what to do next.

mod announce;
mod credentials;
mod home;
mod node;
mod ports;
mod process;
mod ready;
mod selection;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::announce::Announcement;
use self::credentials::Credentials;
use self::home::Home;
use self::node::Node;
use self::process::{Ended, Process};
use self::selection::Selection;
use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::tls::TlsSettings;

/// Most nodes: more than a controller has voters would show nothing new.
const NODES_MAX: usize = 5;
/// How long the nodes may take to become a cluster.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long they may take to stop before they are killed: longer than a node gives the calls under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

const AFTER_HELP: &str = "\
Each node is a process of its own: kill one with `kill -9 PID` and see what happens. Ctrl-C stops them all.
Everything is secured: TLS with certificates on both sides, a policy that lets the user root do everything, encrypted gossip.

Examples:
  varve dev
  varve dev --data-dir ~/varve-dev        keeps the data: the same cluster comes back
  varve dev --nodes 5 --port 9400
  varve dev -- --segment-bytes 1MiB       settings for every node";

/// What `dev` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DevArgs {
    /// Number of nodes: 1, 3 or 5 [default: 3, or as many as the data directory holds]
    #[arg(short, long, value_name = "N", value_parser = node_count)]
    nodes: Option<usize>,
    /// Directory to keep the cluster in [default: a temporary one, removed at the end]
    #[arg(short, long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port of the first node; each has one for gossip next to it, and the next node comes 10 further on
    /// (0 takes any that are free) [default: 8400, or free ones where these are taken]
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(0..=ports::FIRST_MAX))]
    port: Option<u16>,
    /// Serve in the clear whoever reaches the ports on this machine: no certificates, no policy
    #[arg(long)]
    insecure: bool,
    /// Settings that every node gets, as `varve server` takes them
    #[arg(last = true, value_name = "SETTING")]
    settings: Vec<String>,
}

/// Runs the cluster until it is told to stop.
///
/// # Errors
/// If it does not come up, or all of its nodes end.
pub(crate) async fn run(args: DevArgs, verbosity: Verbosity) -> Result<(), Failure> {
    // The first stops the nodes, the second kills them, a third ends this process at once.
    let mut interrupt = Interrupt::install(2)?.or_hangup()?;
    let home = Home::open(args.data_dir.as_deref())?;
    let (nodes, credentials) = home.nodes(args.nodes, args.port, !args.insecure, verbosity)?;
    if args.insecure {
        verbosity.say("warning: nothing is encrypted, and whoever reaches these ports may do everything");
    }
    let (sender, ended) = mpsc::channel(NODES_MAX);
    let mut cluster = Cluster { nodes, credentials, settings: args.settings, processes: Vec::new(), ended };
    let started = Instant::now();
    verbosity.say(&format!("starting {} in {}", cluster.called(), home.path().display()));
    let result = match cluster.start(&sender, verbosity).await {
        Ok(()) => cluster.live(&home, started, &mut interrupt, verbosity).await,
        Err(failure) => Err(failure),
    };
    cluster.stop(&mut interrupt, verbosity).await;
    home.close(cluster.what_remains(&result), verbosity);
    result
}

/// The nodes, and the processes of those that run.
struct Cluster {
    nodes: Vec<Node>,
    /// What they are secured by; `None` where all is in the clear.
    credentials: Option<Credentials>,
    /// What every node is told besides.
    settings: Vec<String>,
    processes: Vec<Process>,
    ended: mpsc::Receiver<Ended>,
}

impl Cluster {
    /// Starts all; new nodes so that their ids are in the order of their names: the first makes the cluster, and from the third on
    /// each comes when the one before it has its place.
    async fn start(&mut self, ended: &mpsc::Sender<Ended>, verbosity: Verbosity) -> Result<(), Failure> {
        let is_new = !self.nodes.iter().any(Node::belongs_to_a_cluster);
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(before) =
                index.checked_sub(1).filter(|before| *before > 0).and_then(|before| self.nodes.get(before))
            {
                tokio::select! {
                    biased;
                    Some(ended) = self.ended.recv() => {
                        self.processes.retain(|process| process.index != ended.index);
                        return Err(self.did_not_start(&ended));
                    }
                    () = ready::wait_for_place(before, node) => {}
                }
            }
            let mut arguments = node.arguments(&self.nodes, is_new && index == 0, &self.settings);
            if verbosity.verbose > 0 {
                arguments.push(format!("-{}", "v".repeat(verbosity.verbose.into())));
            }
            self.processes.push(Process::spawn(index, node, &arguments, ended.clone())?);
        }
        Ok(())
    }

    /// From its start to the wish that it end.
    async fn live(
        &mut self,
        home: &Home,
        started: Instant,
        interrupt: &mut Interrupt,
        verbosity: Verbosity,
    ) -> Result<(), Failure> {
        let root = self.credentials.as_ref().map(Credentials::root);
        let tls = root.as_ref().map(TlsSettings::open).transpose()?;
        let servers = tokio::select! {
            biased;
            () = interrupt.wait() => return Err(Failure::quiet(Exit::Interrupted)),
            Some(ended) = self.ended.recv() => {
                self.processes.retain(|process| process.index != ended.index);
                return Err(self.did_not_start(&ended));
            }
            servers = ready::wait(&self.nodes, tls, START_TIMEOUT) => servers?,
        };
        let selection = Selection::make(&self.nodes, root);
        let processes: Vec<_> = self.nodes.iter().zip(&self.processes).collect();
        let told = Announcement {
            processes,
            servers: &servers,
            selection: &selection,
            credentials: self.credentials.as_ref(),
            home,
            took: started.elapsed(),
        };
        let written = told.write();
        if written.is_ok() {
            self.watch(interrupt, verbosity).await;
        }
        selection.take_back();
        written
    }

    /// Until it is to end, says which nodes have ended by themselves, or by somebody's hand. The others go on.
    async fn watch(&mut self, interrupt: &mut Interrupt, verbosity: Verbosity) {
        loop {
            tokio::select! {
                biased;
                () = interrupt.wait() => return,
                Some(ended) = self.ended.recv() => self.lost(&ended, verbosity),
            }
        }
    }

    fn lost(&mut self, ended: &Ended, verbosity: Verbosity) {
        let Some(node) = self.nodes.get(ended.index) else { return };
        self.processes.retain(|process| process.index != ended.index);
        let left = self.processes.len();
        let goes_on = match left {
            0 => "; none is left".into(),
            1 => format!("; 1 of {} goes on", self.nodes.len()),
            _ => format!("; {left} of {} go on", self.nodes.len()),
        };
        verbosity.say(&format!("\n{} ended ({}){goes_on}", node.name, ended.status));
        if ended.by_itself() {
            ended.last_lines.iter().for_each(|line| verbosity.say(&format!("  | {line}")));
        }
        verbosity.say(&format!("it comes back with:\n  {}", node.command_line(&self.nodes, &self.settings)));
    }

    fn did_not_start(&self, ended: &Ended) -> Failure {
        let Some(node) = self.nodes.get(ended.index) else {
            return Failure::new(Exit::General, "a node ended while it started");
        };
        // What it said is the error, so that it is shown to those also who want to hear nothing else.
        let loud = Verbosity { quiet: false, verbose: 0 };
        ended.last_lines.iter().for_each(|line| loud.say(&format!("  | {line}")));
        let message = format!("{} ended while it started ({})", node.name, ended.status);
        let exit = if ended.by_usage { Exit::Usage } else { Exit::General };
        Failure::new(exit, message).hint(format!("all that it said is in {}", node.log().display()))
    }

    /// Stops what runs: all at once, since none is to take over from another.
    async fn stop(&mut self, interrupt: &mut Interrupt, verbosity: Verbosity) {
        if self.processes.is_empty() {
            return;
        }
        verbosity.say("\nstopping the nodes");
        self.processes.iter_mut().for_each(Process::stop);
        let patience = tokio::select! {
            in_time = timeout(STOP_TIMEOUT, self.all_ended()) => in_time.is_ok(),
            () = interrupt.wait_again() => false,
        };
        if !patience {
            self.processes.iter_mut().for_each(Process::kill);
            // A killed process ends, unless the kernel holds on to it; then there is nothing left to be done.
            let _ = timeout(STOP_TIMEOUT, self.all_ended()).await;
        }
    }

    async fn all_ended(&mut self) {
        while !self.processes.is_empty() {
            let Some(ended) = self.ended.recv().await else { return };
            self.processes.retain(|process| process.index != ended.index);
        }
    }

    /// Why the nodes' files may be needed still, if they are.
    fn what_remains(&self, result: &Result<(), Failure>) -> Option<String> {
        if result.as_ref().is_err_and(|failure| !matches!(failure.exit, Exit::Interrupted | Exit::Success)) {
            return Some("the logs may tell what went wrong".into());
        }
        let by_hand = self.nodes.iter().find(|node| node.runs())?;
        Some(format!("{} was started by hand, and runs still", by_hand.name))
    }

    fn called(&self) -> String {
        match self.nodes.len() {
            1 => "a cluster of 1 node".into(),
            count => format!("a cluster of {count} nodes"),
        }
    }
}

fn node_count(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(NODES_MAX),
        _ => Err("a cluster here has 1, 3 or 5 nodes".into()),
    }
}

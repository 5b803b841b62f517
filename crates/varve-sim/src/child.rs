//! Seeds in processes of their own, so that none sees what another left behind, and one that panics ends alone.

use crate::{Args, chance, print_report};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;
use varve_sim::Sync;
use varve_sim::cluster::{self, Options, Report, Totals};

/// A seed that takes longer, in real time, is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(1800);
/// How the process of a seed ends that was stuck.
const STUCK: i32 = 97;
/// How the process of a seed ends where something panicked.
const PANICKED: i32 = 101;
/// Lines of what such a process said that are shown.
const LINES_SHOWN: usize = 12;

/// Runs a seed in this process. Whether all promises were kept.
pub(crate) fn run(seed: u64, sync: Sync, args: &Args) -> bool {
    watch_over();
    end_where_something_panics();
    if args.trace {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("varve_sim=debug"));
        let printed = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        // The time of day would make two runs of a seed look different.
        printed.without_time().with_ansi(false).init();
    }
    // All paths are relative to it, since they stand in the trace, and in what clients are told.
    let home = match tempfile::tempdir().and_then(|home| std::env::set_current_dir(&home).map(|()| home)) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("there is no directory for certificates: {error}");
            return false;
        }
    };
    // A thread of its own: what the main thread has drawn for its hash maps is not by the seed.
    let certificates_dir = PathBuf::from("certificates");
    let options = Options { sync, trouble_ms: args.trouble_ms, certificates_dir };
    let simulation = thread::spawn(move || {
        chance::seed(seed);
        cluster::run(seed, options)
    });
    let report = simulation.join();
    let report = report.unwrap_or_else(|_| broken(seed, "the simulation panicked".to_owned()));
    if args.json {
        println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
    } else {
        print_report(&report);
    }
    drop(home);
    report.is_ok()
}

/// A task that panics is a finding, although its runtime goes on without it.
fn end_where_something_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        std::process::exit(PANICKED);
    }));
}

fn watch_over() {
    thread::spawn(|| {
        thread::sleep(STUCK_AFTER);
        eprintln!("stuck: no end after {} s", STUCK_AFTER.as_secs());
        std::process::exit(STUCK);
    });
}

/// What came of many seeds.
#[derive(Default)]
struct Sum {
    totals: Totals,
    simulated_ms: u64,
    broken: Vec<u64>,
}

/// Runs seeds, each in a process of its own, several at a time. Whether all promises were kept.
pub(crate) fn run_all(args: &Args) -> bool {
    let began = Instant::now();
    let next = AtomicU64::new(args.start);
    let end = args.start.saturating_add(args.seeds);
    let sum = Mutex::new(Sum::default());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end {
                return;
            }
            let report = run_apart(seed, args.no_sync);
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
        }
    };
    thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or(processors).max(1) {
            scope.spawn(work);
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.broken.sort_unstable();
    print_sum(args, &sum, began.elapsed());
    sum.broken.is_empty()
}

impl Sum {
    fn add(&mut self, report: &Report) {
        print_report(report);
        self.totals.add(&report.totals);
        self.simulated_ms += report.simulated_ms;
        self.broken.extend((!report.is_ok()).then_some(report.seed));
    }
}

fn print_sum(args: &Args, sum: &Sum, took: Duration) {
    let Sum { totals, simulated_ms, broken } = sum;
    let no_sync = if args.no_sync { " --no-sync" } else { "" };
    for seed in broken {
        println!("again with: cargo run -p varve-sim --release --{no_sync} --seed {seed} --trace");
    }
    let (seeds, simulated_s, took_s) = (args.seeds, simulated_ms / 1000, took.as_secs());
    println!("{seeds} seeds, {simulated_s} simulated s in {took_s} s: {totals}; {} broken", broken.len());
}

/// Runs a seed in another process.
fn run_apart(seed: u64, no_sync: bool) -> Report {
    let output = std::env::current_exe().and_then(|binary| {
        let mut command = Command::new(binary);
        command.args(["--json", "--seed", &seed.to_string()]);
        if no_sync {
            command.arg("--no-sync");
        }
        command.stdin(Stdio::null()).output()
    });
    match output {
        Ok(output) => report_of(seed, &output),
        Err(error) => broken(seed, format!("the process of the seed could not be started: {error}")),
    }
}

fn report_of(seed: u64, output: &Output) -> Report {
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = said.lines().take(LINES_SHOWN).collect();
        broken(seed, format!("the process ended with {}: {}", output.status, lines.join(" | ")))
    })
}

fn broken(seed: u64, why: String) -> Report {
    Report { seed, violations: vec![why], ..Report::default() }
}

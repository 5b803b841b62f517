//! Runs seeds of the simulation and says which broke a promise.

mod chance;
mod child;

use clap::Parser;
use std::process::ExitCode;
use varve_sim::cluster::Report;
use varve_sim::{Sync, one_node};

/// Runs Varve in simulation, a seed after the other, and checks its promises.
///
/// Each seed runs in a process of its own: what it prints with --seed is what it did.
#[derive(Debug, Parser)]
#[command(name = "varve-sim", version)]
pub(crate) struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// How many seeds to run at the same time; as many as there are processors where nothing is said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Run this seed alone, in this process.
    #[arg(long, conflicts_with_all = ["seeds", "start", "jobs"])]
    seed: Option<u64>,
    /// With --seed: print what happens, on stderr. RUST_LOG says what; without it, all that the simulation did.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --seed: print the report as JSON.
    #[arg(long, requires = "seed")]
    json: bool,
    /// With --seed: how long there is trouble, in simulated milliseconds, rather than as the seed says.
    #[arg(long, requires = "seed")]
    trouble_ms: Option<u64>,
    /// Ignore syncs: promises must then be broken.
    #[arg(long)]
    no_sync: bool,
    /// Simulate one node's partition only, with power cuts: a fraction of a second a seed.
    #[arg(long, conflicts_with_all = ["seed", "jobs"])]
    one_node: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let sync = if args.no_sync { Sync::Ignored } else { Sync::Honest };
    let all_kept = match args.seed {
        Some(seed) => child::run(seed, sync, &args),
        None if args.one_node => run_one_node(&args, sync),
        None => child::run_all(&args),
    };
    if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one_node(args: &Args, sync: Sync) -> bool {
    let (mut acknowledged, mut crashes, mut broken) = (0, 0, 0);
    for seed in args.start..args.start.saturating_add(args.seeds) {
        let report = one_node::run(seed, sync);
        acknowledged += report.acknowledged;
        crashes += report.crashes;
        if !report.is_ok() {
            broken += 1;
            print_one_node(&report);
        }
    }
    println!(
        "{} seeds, {acknowledged} acknowledged appends, {crashes} power cuts, {broken} broken",
        args.seeds
    );
    broken == 0
}

/// Says what went wrong first; the rest follows from it more often than not.
fn print_one_node(report: &one_node::Report) {
    if let Some(reason) = &report.failed_start {
        println!("seed {}: the node did not start: {reason}", report.seed);
    }
    for violation in report.violations.iter().take(3) {
        println!("seed {}: {violation}", report.seed);
    }
    println!("seed {}: {} violations", report.seed, report.violations.len());
}

/// Says what a seed did.
pub(crate) fn print_report(report: &Report) {
    let Report { seed, is_secured, digest, simulated_ms, totals, violations } = report;
    let secured = if *is_secured { "TLS, " } else { "" };
    println!("seed {seed}: {secured}{} simulated s, {totals}, digest {digest:016x}", simulated_ms / 1000);
    for violation in violations {
        println!("seed {seed}: BROKEN: {violation}");
    }
}

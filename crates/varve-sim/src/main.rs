//! Runs seeds of the simulation and says which broke a promise.

use clap::Parser;
use std::process::ExitCode;
use varve_sim::{Report, Sync, run};

/// Runs Varve in simulation, a seed after the other, and checks its promises.
#[derive(Debug, Parser)]
#[command(name = "varve-sim", version)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// Ignore syncs: promises must then be broken.
    #[arg(long)]
    no_sync: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let sync = if args.no_sync { Sync::Ignored } else { Sync::Honest };
    let (mut acknowledged, mut crashes, mut broken) = (0, 0, 0);
    for seed in args.start..args.start.saturating_add(args.seeds) {
        let report = run(seed, sync);
        acknowledged += report.acknowledged;
        crashes += report.crashes;
        if !report.is_ok() {
            broken += 1;
            print_broken(&report);
        }
    }
    println!(
        "{} seeds, {acknowledged} acknowledged appends, {crashes} power cuts, {broken} broken",
        args.seeds
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what went wrong first; the rest follows from it more often than not.
fn print_broken(report: &Report) {
    if let Some(reason) = &report.failed_start {
        println!("seed {}: the node did not start: {reason}", report.seed);
    }
    for violation in report.violations.iter().take(3) {
        println!("seed {}: {violation}", report.seed);
    }
    println!("seed {}: {} violations", report.seed, report.violations.len());
}

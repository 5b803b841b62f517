//! Varve measured beside the limits of the machine it runs on.
//!
//! A figure means little without what the machine could do at that moment: each is printed beside its limit, measured in the same
//! run. A server is the real binary in a process of its own, found beside this one (`cargo build --release` makes both).
//! `README.md` holds the figures and says how they were had.

mod idle;
mod limits;
mod loads;
mod report;
mod scale;
mod servers;
mod statistics;
mod telemetry;

use clap::{Parser, Subcommand};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures Varve servers, started for this, beside the limits of the machine.
#[derive(Debug, Parser)]
#[command(name = "varve-bench", version)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Where the data directories are made, and removed again; the system's temporary directory if absent.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// The server's binary; the `varve` beside this program if absent.
    #[arg(long, global = true)]
    varve: Option<PathBuf>,
    /// A tenth of the work, to see that it runs.
    #[arg(long, global = true)]
    quick: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// One server (what is measured if nothing is said).
    Node,
    /// Three servers, each with a replica of all that is written.
    Cluster,
    /// What one server and three cost that nobody uses.
    Idle,
    /// What 10, 100 and 1,000 partitions cost three servers, and how soon they are led again when one dies.
    Scale,
    /// What it costs a server to count and time what it does.
    Telemetry,
}

/// Why there are no figures.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Report, Failure> {
    let dir = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let binary = match &args.varve {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("varve"),
    };
    let scale = if args.quick { 10 } else { 1 };
    // As many threads as each server has: one for each processor but one.
    let threads = std::thread::available_parallelism()?.get().saturating_sub(1).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let (what, path) = (args.what.unwrap_or(What::Node), dir.path().to_owned());
    // As a task among those that it waits for, as callers are that do more than this: the thread that waits here would have to
    // be woken for each answer.
    let measuring = runtime.spawn(async move {
        match what {
            What::Node => loads::all(&binary, &path, scale, 1).await,
            What::Cluster => loads::all(&binary, &path, scale, 3).await,
            What::Idle => idle::all(&binary, &path, u32::try_from(scale)?).await,
            What::Scale => scale::all(&binary, &path, u32::try_from(scale)?).await,
            What::Telemetry => telemetry::all(&binary, &path, u32::try_from(scale)?).await,
        }
    });
    runtime.block_on(measuring)?
}

//! Varve measured beside the limits of the machine it runs on.
//!
//! A figure means little without what the machine could do at that moment: each is printed beside its limit, measured in the same
//! run. The server is the real binary in a process of its own, found beside this one (`cargo build --release` makes both).
//! `README.md` holds the figures and says how they were had.

mod limits;
mod measure;
mod report;
mod server;
mod statistics;

use clap::Parser;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures a Varve server, started for this, beside the limits of the machine.
#[derive(Debug, Parser)]
#[command(name = "varve-bench", version)]
struct Args {
    /// Where the data directory is made, and removed again; the system's temporary directory if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The server's binary; the `varve` beside this program if absent.
    #[arg(long)]
    varve: Option<PathBuf>,
    /// A tenth of the work, to see that it runs.
    #[arg(long)]
    quick: bool,
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure::all(&binary, dir.path(), scale))
}

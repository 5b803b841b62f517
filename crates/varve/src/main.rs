//! Varve: a durable commit log served over gRPC.
//!
//! This is the one program: the server and everything that is done from a shell. [`cli`] is the command line; each command is
//! a module of [`commands`]; [`config`] puts the server's settings together; [`failure`] says how a command ends. Data goes
//! to standard output, everything else to standard error.

mod cli;
mod commands;
mod config;
mod context;
mod escape;
mod failure;
mod interrupt;
mod logging;
#[cfg(test)]
mod man;
mod output;
mod process;
mod profile;
mod record_json;
mod suggest;
mod table;
mod tar;
mod telemetry;
mod terminal;
mod time;
mod tls;
mod units;

use std::process::ExitCode;

use clap::Parser;

/// Musl's own allocator takes one caller at a time, and gives large blocks back to the system each time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                terminal::report(&failure.message, failure.hint.as_deref());
            }
            failure.exit.into()
        }
    }
}

//! The commands, a module each.

pub(crate) mod acl;
pub(crate) mod bench;
pub(crate) mod cert;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod connection;
pub(crate) mod consume;
pub(crate) mod context;
pub(crate) mod debug;
pub(crate) mod dev;
pub(crate) mod gossip;
pub(crate) mod health;
pub(crate) mod produce;
pub(crate) mod server;
pub(crate) mod topic;
pub(crate) mod verify;
pub(crate) mod version;

use std::future::Future;

use futures::future::LocalBoxFuture;

use crate::cli::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::{logging, telemetry};

/// Runs a command to its end.
///
/// # Errors
/// Whatever it ends with instead of success.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let verbosity = cli.verbosity;
    if !matches!(cli.command, Command::Server(_)) {
        logging::start_client(verbosity);
    }
    match cli.command {
        Command::Dev(args) => block_on(None, dev::run(args, verbosity)),
        Command::Server(args) => server::run(&args, verbosity),
        Command::Produce(args) => block_on(None, produce::run(args, verbosity)),
        Command::Consume(args) => block_on(None, consume::run(args)),
        Command::Topic(command) => block_on(None, topic::run(command, verbosity)),
        Command::Cluster(command) => block_on(None, cluster::run(command, verbosity)),
        Command::Gossip(command) => gossip::run(command, verbosity),
        Command::Cert(command) => cert::run(command, verbosity),
        Command::Acl(command) => acl::run(command),
        Command::Context(command) => context::run(command, verbosity),
        Command::Health(args) => block_on(None, health::run(args)),
        Command::Debug(command) => block_on(None, debug::run(command, verbosity)),
        Command::Verify(args) => verify::run(&args, verbosity),
        Command::Bench(args) => block_on(Some(worker_threads()), as_task(bench::run(args, verbosity))),
        Command::Completion(args) => completion::run(&args),
        Command::Version(args) => version::run(&args),
    }
}

/// Runs what is asynchronous, on threads that end with it: as many as there are processors, or so many.
pub(crate) fn block_on(
    threads: Option<usize>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::General, format!("cannot start threads: {error}")))?;
    // Boxed, so that Tokio's part is compiled once, and not for each command.
    let result = runtime.block_on(Box::pin(work) as LocalBoxFuture<'_, _>);
    telemetry::finish();
    // Whatever still reads from standard input must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Threads for what has other threads beside it, a server's that write to disks or a benchmark's servers: one for each processor
/// but one. To wake a second one costs more than it brings where they must share a processor.
pub(crate) fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1))
}

/// Has work done as a task among those that it waits for: the thread that waits in [`block_on`] would have to be woken for each
/// answer.
async fn as_task(work: impl Future<Output = Result<(), Failure>> + Send + 'static) -> Result<(), Failure> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::new(Exit::General, error.to_string())),
        },
    }
}

//! `varve debug profile`.

use clap::Args;

use super::Node;
use crate::cli::{Connect, Verbosity};
use crate::commands::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;

pub(crate) const AFTER_HELP: &str = "\
Takes the right to administer the cluster. Writes folded stacks, which tools that draw flame graphs take.

Examples:
  varve debug profile --node node-1 > node-1.folded
  varve debug profile --node 2 --seconds 30 --frequency 199 > node-2.folded";

/// What `debug profile` takes.
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    node: Node,
    /// How long to look, in seconds
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// How often to look, times a second of processor time
    #[arg(long, default_value_t = 99, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    frequency: u32,
    #[command(flatten)]
    connect: Connect,
}

/// Looks, and writes what was seen.
pub(crate) async fn run(args: ProfileArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let servers = args.node.servers(&connection).await?;
    let [server] = servers.as_slice() else {
        let failure = Failure::new(Exit::Usage, "a profile is taken of one server");
        return Err(failure.hint("say which with --node NAME; `varve cluster members` shows them all"));
    };
    verbosity.say(&format!("looking into {} for {} s", server.name, args.seconds));
    let folded = connection.client.profile(&server.addr, args.seconds, args.frequency).await;
    let folded =
        folded.map_err(|error| connection.fail(format!("take a profile of {}", server.name), &error))?;
    let mut out = Output::new();
    out.write(|out| out.write_all(folded.as_bytes()))?;
    out.flush()
}

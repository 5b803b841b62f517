//! `varve debug log-level`.

use clap::Args;

use super::Node;
use crate::cli::Connect;
use crate::commands::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) const AFTER_HELP: &str = "\
Takes the right to administer the cluster. What is changed lasts until the server ends.

Examples:
  varve debug log-level                                  what each server logs
  varve debug log-level debug --node node-2
  varve debug log-level info,varve_server=debug,varve_replica=debug";

/// What `debug log-level` takes.
#[derive(Debug, Args)]
pub(crate) struct LogLevelArgs {
    /// A level (error, warn, info, debug, trace) or a filter by modules; without one nothing is changed
    #[arg(value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    connect: Connect,
}

/// Changes it, and says so.
pub(crate) async fn run(args: LogLevelArgs) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let mut out = Output::new();
    for server in args.node.servers(&connection).await? {
        let answer = connection.client.set_log_filter(&server.addr, &args.filter).await;
        let doing = || format!("change what {} logs", server.name);
        let answer = answer.map_err(|error| connection.fail(doing(), &error))?;
        let before = if answer.previous == answer.filter {
            String::new()
        } else {
            format!(" (before: {})", answer.previous)
        };
        out.line(&format!("{} logs {}{before}", server.name, answer.filter))?;
    }
    out.flush()
}

//! `varve cluster init`.

use clap::Args;
use varve_api::error::Reason;
use varve_client::ClusterAddress;

use crate::cli::{Connect, Verbosity};
use crate::commands::connection::Connection;
use crate::failure::Failure;

/// What it is for.
pub(crate) const AFTER_HELP: &str = "\
For servers that were all started alike: with --start-join-addrs that name each other, and none with --bootstrap.
One of them is told to make the cluster, once; the others join it.

Example:
  varve cluster init --server varve://10.0.0.1:8400
  varve cluster init --server varve://10.0.0.1:8400 --if-missing     for scripts that may run again";

/// What `cluster init` takes.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where the server belongs to a cluster already, say so and end well
    #[arg(long)]
    if_missing: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Has one server make a cluster.
pub(crate) async fn run(args: InitArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let target = args.connect.target()?;
    // What is no address is refused when it is connected to.
    let members = target.address.parse::<ClusterAddress>().map_or(1, |address| address.members().len());
    if members > 1 {
        let failure = Failure::usage(format!("{target} names {members} servers, and one has to begin"));
        return Err(failure.hint("name the one that makes the cluster with --server; the others join it"));
    }
    let connection = Connection::open(&args.connect).await?;
    match connection.client.init_cluster().await {
        Ok(cluster) => verbosity.say(&format!("made cluster {cluster}")),
        Err(error) if error.reason() == Some(Reason::ClusterExists) && args.if_missing => {
            verbosity.say(&format!("nothing to do: {error}"));
        }
        Err(error) => {
            let failure = connection.fail("make a cluster", &error);
            return Err(match error.reason() {
                Some(Reason::ClusterExists) => failure.hint("`varve cluster info` shows it"),
                _ => failure,
            });
        }
    }
    Ok(())
}

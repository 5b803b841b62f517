//! `varve debug`.

mod bundle;
mod log_level;
mod profile;

use clap::{Args, Subcommand};

use super::connection::Connection;
use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};

/// The commands that look into servers.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Gather what helps to find out what is wrong, of all servers, into one archive
    #[command(after_help = bundle::AFTER_HELP)]
    Bundle(bundle::BundleArgs),
    /// Change what servers log until they end, or show it
    #[command(after_help = log_level::AFTER_HELP)]
    LogLevel(log_level::LogLevelArgs),
    /// Look for a while where a server spends processor time
    #[command(after_help = profile::AFTER_HELP)]
    Profile(profile::ProfileArgs),
}

/// Runs one of them.
pub(crate) async fn run(command: DebugCommand, verbosity: Verbosity) -> Result<(), Failure> {
    match command {
        DebugCommand::Bundle(args) => bundle::run(args, verbosity).await,
        DebugCommand::LogLevel(args) => log_level::run(args).await,
        DebugCommand::Profile(args) => profile::run(args, verbosity).await,
    }
}

/// Which server is looked into.
#[derive(Debug, Args)]
struct Node {
    /// One server alone, by its name or id
    #[arg(long, value_name = "NAME|ID")]
    node: Option<String>,
}

/// A server, and where it is.
#[derive(Clone, Debug)]
struct Server {
    id: u64,
    name: String,
    addr: String,
}

impl Node {
    /// The server that was named, or all.
    async fn servers(&self, connection: &Connection) -> Result<Vec<Server>, Failure> {
        let answer = connection.client.servers().await;
        let answer = answer.map_err(|error| connection.fail("ask for the servers", &error))?;
        let all = answer.servers.into_iter();
        let all = all.map(|server| Server { id: server.id, name: server.name, addr: server.rpc_addr });
        let Some(wanted) = &self.node else { return Ok(all.collect()) };
        let named: Vec<Server> = all.filter(|server| server.is(wanted)).collect();
        if named.is_empty() {
            let failure = Failure::new(Exit::NotFound, format!("there is no server {wanted}"));
            return Err(failure.hint("`varve cluster members` shows them all"));
        }
        Ok(named)
    }
}

impl Server {
    fn is(&self, wanted: &str) -> bool {
        self.name == wanted || self.id.to_string() == wanted
    }
}

//! The command line.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use varve_api::TopicName;

use crate::commands::{
    acl, bench, cert, cluster, completion, consume, context, debug, dev, gossip, health, produce, server,
    topic, verify, version,
};
use crate::context::{ContextName, Target};
use crate::failure::Failure;
use crate::tls::TlsArgs;
use crate::units::parse_duration;

const ABOUT: &str = "Varve: a durable commit log served over gRPC";

const AFTER_HELP: &str = "\
Start here:
  varve dev                                        three nodes on this machine, until Ctrl-C
  varve server --data-dir /tmp/v --bootstrap       or one node, on 127.0.0.1:8400
  varve produce events /var/log/dpkg.log           a record a line
  varve consume events --from start -n 5
  varve consume events --follow

Servers with certificates are asked with --tls-ca-file, --tls-cert-file and --tls-key-file, which a context keeps:
  varve context create prod --server varve://HOST:8400 --tls-ca-file ... --use

Exit codes: 0 ok, 1 general, 2 usage, 3 unavailable, 4 not allowed, 5 not found, 6 precondition,
7 out of range, 8 timeout, 9 unhealthy, 10 the server was taken out of its cluster, 130 interrupted.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "varve", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
#[command(propagate_version = false, disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Verbosity {
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 1000)]
    pub(crate) quiet: bool,
    /// Log what is done on standard error (-vv for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 1001)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a cluster of three nodes on this machine, to try things out
    Dev(dev::DevArgs),
    /// Run a node
    #[command(after_help = SERVER_HELP)]
    Server(server::ServerArgs),
    /// Append records from files or standard input
    Produce(produce::ProduceArgs),
    /// Read records
    Consume(consume::ConsumeArgs),
    /// Make, show, change and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Show the cluster and its servers, and change who does what
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Make the key that gossip between servers is encrypted with
    #[command(subcommand)]
    Gossip(gossip::GossipCommand),
    /// Make certificates for servers and clients, show them, and take them back
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Look at a policy: who may do what
    #[command(subcommand)]
    Acl(acl::AclCommand),
    /// Name clusters, and select the one that commands talk to
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Say whether a server can serve
    Health(health::HealthArgs),
    /// Look into servers: an archive of what helps, what they log, where time goes
    #[command(subcommand)]
    Debug(debug::DebugCommand),
    /// Check every checksum in a data directory whose server is stopped
    Verify(verify::VerifyArgs),
    /// Measure a server
    Bench(bench::BenchArgs),
    /// Write a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Show the version
    Version(version::VersionArgs),
}

const SERVER_HELP: &str = "\
Each setting may also stand in the environment (VARVE_DATA_DIR) or in the file (data-dir: DIR).
Flags win over the environment, and that over the file.

Examples:
  varve server --data-dir /tmp/v --bootstrap
  varve server --config-file /etc/varve.yaml --log-level debug";

/// Which server is talked to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    // No doc comment: rustdoc takes the brackets for a link.
    #[arg(help = "The cluster: any of its servers, as varve://HOST:PORT[,HOST:PORT] [env: VARVE_SERVER] \
                  [default: that of the selected context, else varve://127.0.0.1:8400]")]
    #[arg(short, long, value_name = "ADDRESS", help_heading = "Connection")]
    server: Option<String>,
    /// The cluster, by the name of a context
    #[arg(long, value_name = "NAME", conflicts_with = "server", help_heading = "Connection")]
    context: Option<ContextName>,
    /// How long a call may take, with all its retries
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_timeout)]
    #[arg(help_heading = "Connection")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Connect {
    /// The cluster that is talked to.
    ///
    /// # Errors
    /// If it is named by a context that is not there, the contexts cannot be read, or TLS lacks something.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        Target::find(self.server.as_deref(), self.context.as_ref(), self.tls.clone())
    }
}

impl Verbosity {
    /// Says what was done, on standard error.
    pub(crate) fn say(self, message: &str) {
        if !self.quiet {
            // Not `eprintln`, which panics where the terminal has gone.
            let _ = writeln!(io::stderr(), "{message}");
        }
    }
}

/// Takes a topic's name.
pub(crate) fn topic_name(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.problem.to_owned())
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout.is_zero() { Err("it must be more than 0".into()) } else { Ok(timeout) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}

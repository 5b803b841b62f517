//! `varve cluster`.

mod decommission;
mod health;
mod info;
mod init;
mod members;
mod server;
mod transfer;

use clap::Subcommand;

use crate::cli::Verbosity;
use crate::failure::Failure;

/// The commands about the cluster as a whole.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster in a few lines
    Info(info::InfoArgs),
    /// List the servers (-o raw: the bare addresses)
    Members(members::MembersArgs),
    /// Say what is wrong with the cluster, if anything
    #[command(after_help = health::AFTER_HELP)]
    Health(health::HealthArgs),
    /// Have another server lead a partition, or the controller
    #[command(after_help = transfer::AFTER_HELP)]
    TransferLeadership(transfer::TransferArgs),
    /// Move everything off a server, so that it can be taken away
    #[command(after_help = decommission::AFTER_HELP)]
    Decommission(decommission::DecommissionArgs),
    /// Make a cluster of servers that were all started without --bootstrap
    #[command(after_help = init::AFTER_HELP)]
    Init(init::InitArgs),
}

/// Runs one of them.
pub(crate) async fn run(command: ClusterCommand, verbosity: Verbosity) -> Result<(), Failure> {
    match command {
        ClusterCommand::Info(args) => info::run(args).await,
        ClusterCommand::Members(args) => members::run(args).await,
        ClusterCommand::Health(args) => health::run(args).await,
        ClusterCommand::TransferLeadership(args) => transfer::run(args, verbosity).await,
        ClusterCommand::Decommission(args) => decommission::run(args, verbosity).await,
        ClusterCommand::Init(args) => init::run(args, verbosity).await,
    }
}

/// "1 server", "3 servers".
fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

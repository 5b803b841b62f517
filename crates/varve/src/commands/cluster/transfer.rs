//! `varve cluster transfer-leadership`.

use clap::Args;
use varve_api::TopicName;
use varve_client::record::NodeId;

use super::server::{ServerRef, called_by_id, servers};
use crate::cli::{Connect, Verbosity, topic_name};
use crate::commands::connection::Connection;
use crate::failure::Failure;

/// Examples.
pub(crate) const AFTER_HELP: &str = "\
Examples:
  varve cluster transfer-leadership events 0
  varve cluster transfer-leadership events 0 --to node-2
  varve cluster transfer-leadership --controller --to 3";

/// What `cluster transfer-leadership` takes.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Topic
    #[arg(value_parser = topic_name, required_unless_present = "controller", requires = "partition")]
    topic: Option<TopicName>,
    /// Partition
    #[arg(required_unless_present = "controller")]
    partition: Option<u32>,
    /// Have another server lead the controller instead
    #[arg(long, conflicts_with_all = ["topic", "partition"])]
    controller: bool,
    /// Id or name of the server that is to lead [default: any that has all of the log]
    #[arg(long, value_name = "SERVER")]
    to: Option<ServerRef>,
    #[command(flatten)]
    connect: Connect,
}

/// Asks for it, and says who leads now.
pub(crate) async fn run(args: TransferArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let to = match &args.to {
        Some(server) => Some(NodeId::new(server.find(&connection).await?.id)),
        None => None,
    };
    let client = &connection.client;
    let (what, leader) = match (&args.topic, args.partition) {
        (Some(topic), Some(partition)) => {
            let what = format!("{topic}/{partition}");
            let leader = client.transfer_leadership(topic.as_str(), partition, to).await;
            match leader {
                Ok(leader) => (what, leader),
                Err(error) => {
                    let doing = format!("transfer the leadership of {what}");
                    return Err(connection.fail_topic(doing, topic, &error).await);
                }
            }
        }
        _ => {
            let leader = client.transfer_controller(to).await;
            let fail = |error| connection.fail("transfer the leadership of the controller", &error);
            ("the controller".to_owned(), leader.map_err(fail)?)
        }
    };
    // Their names are a courtesy: it is done, whether they can be asked for or not.
    let servers = servers(&connection).await.unwrap_or_default();
    verbosity.say(&format!("{} leads {what} now", called_by_id(&servers, leader)));
    Ok(())
}

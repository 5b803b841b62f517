//! `varve cluster decommission`.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};
use varve_api::v1::{Server, ServerState};
use varve_client::record::NodeId;

use super::counted;
use super::server::{ServerRef, called, servers, state};
use crate::cli::{Connect, Verbosity};
use crate::commands::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::units::{human_duration, parse_duration};

/// How long to wait where nothing is said.
const WAIT: &str = "30m";
/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Examples.
pub(crate) const AFTER_HELP: &str = "\
It goes on by itself once begun. When the server has left the list of members its process ends, with 0.

Examples:
  varve cluster decommission node-3 --wait
  varve cluster decommission 3 --cancel";

/// What `cluster decommission` takes.
#[derive(Debug, Args)]
pub(crate) struct DecommissionArgs {
    /// Id or name of the server
    #[arg(value_name = "SERVER")]
    node: ServerRef,
    /// Call it off: the server takes part again
    #[arg(long, conflicts_with = "wait")]
    cancel: bool,
    /// Wait until the server has left, for so long [default: 30m]
    #[arg(short, long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = WAIT, value_parser = parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    connect: Connect,
}

/// Begins it or calls it off, and perhaps waits until it is through.
pub(crate) async fn run(args: DecommissionArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let server = args.node.find(&connection).await?;
    let id = NodeId::new(server.id);
    let doing = if args.cancel { "call off the decommission of" } else { "decommission" };
    let answer = connection.client.decommission(id, args.cancel).await;
    let answer = answer.map_err(|error| connection.fail(format!("{doing} {}", called(&server)), &error))?;
    if args.cancel {
        verbosity.say(&format!("{} takes part again", called(&server)));
        return Ok(());
    }
    verbosity.say(&format!("{} is being drained: {}", called(&server), left(&answer)));
    match args.wait {
        Some(wait) => wait_until_gone(&connection, &server, answer.replicas, wait, verbosity).await,
        None => {
            verbosity.say(&format!("`varve cluster decommission {id} --wait` waits until it has left"));
            Ok(())
        }
    }
}

async fn wait_until_gone(
    connection: &Connection,
    server: &Server,
    mut replicas: u32,
    wait: Duration,
    verbosity: Verbosity,
) -> Result<(), Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let members = servers(connection).await?;
        let Some(now) = members.iter().find(|member| member.id == server.id) else {
            verbosity
                .say(&format!("{} has left the cluster, and its process ends by itself", called(server)));
            return Ok(());
        };
        if state(now) == ServerState::Active {
            let message = format!("the decommission of {} was called off", called(server));
            return Err(Failure::new(Exit::Precondition, message));
        }
        if now.replicas != replicas {
            replicas = now.replicas;
            verbosity.say(&left(now));
        }
        if Instant::now() + LOOK_INTERVAL >= deadline {
            let message =
                format!("{} has not left after {}: {}", called(server), human_duration(wait), left(now));
            let failure = Failure::new(Exit::Timeout, message);
            return Err(failure.hint("it goes on by itself; `varve cluster health` tells what is in the way"));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn left(server: &Server) -> String {
    format!("{} left to move", counted(server.replicas as usize, "replica"))
}

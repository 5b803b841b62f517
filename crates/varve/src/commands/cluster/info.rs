//! `varve cluster info`.

use clap::Args;
use serde::Serialize;
use varve_client::record::NodeId;

use super::counted;
use super::server::called_by_id;
use crate::cli::Connect;
use crate::commands::connection::Connection;
use crate::failure::Failure;
use crate::output::{Format, Output, table_or_json};

/// What `cluster info` takes.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, Serialize)]
struct Info {
    cluster_id: String,
    /// Node id.
    controller_leader: Option<u64>,
    #[serde(skip)]
    controller: String,
    servers: usize,
    servers_alive: usize,
    topics: usize,
    partitions: u32,
    healthy: bool,
    problems: Vec<String>,
}

/// Asks, and says what was answered.
pub(crate) async fn run(args: InfoArgs) -> Result<(), Failure> {
    let info = ask(&Connection::open(&args.connect).await?).await?;
    let mut out = Output::new();
    if args.output == Format::Json {
        out.json(&info, true)?;
    } else {
        info.lines().iter().try_for_each(|(name, text)| out.line(&format!("{name:<10}  {text}")))?;
    }
    out.flush()
}

async fn ask(connection: &Connection) -> Result<Info, Failure> {
    let client = &connection.client;
    let (members, topics, health) =
        futures::join!(client.servers(), client.list_topics(), client.cluster_health());
    let members = members.map_err(|error| connection.fail("ask for the servers", &error))?;
    let topics = topics.map_err(|error| connection.fail("list topics", &error))?;
    let health = health.map_err(|error| connection.fail("ask for the cluster's health", &error))?;
    let leads = |id| format!("led by {}", called_by_id(&members.servers, NodeId::new(id)));
    Ok(Info {
        controller_leader: health.controller_leader,
        controller: health.controller_leader.map_or_else(|| "nobody leads it".into(), leads),
        servers: members.servers.len(),
        servers_alive: members.servers.iter().filter(|server| server.alive).count(),
        cluster_id: members.cluster_id,
        topics: topics.len(),
        partitions: health.partitions,
        healthy: health.healthy,
        problems: health.problems,
    })
}

impl Info {
    fn lines(&self) -> [(&'static str, String); 5] {
        let alive = match self.servers_alive {
            alive if alive == self.servers => "all alive".to_owned(),
            alive => format!("{alive} alive"),
        };
        let health = match (self.healthy, self.problems.as_slice()) {
            (true, _) => "healthy".to_owned(),
            (false, []) => "unhealthy".to_owned(),
            (false, [only]) => format!("unhealthy: {only}"),
            (false, [first, rest @ ..]) => format!("unhealthy: {first} (and {} more)", rest.len()),
        };
        [
            ("cluster", self.cluster_id.clone()),
            ("controller", self.controller.clone()),
            ("servers", format!("{}, {alive}", self.servers)),
            ("topics", format!("{}, with {}", self.topics, counted(self.partitions as usize, "partition"))),
            ("health", health),
        ]
    }
}

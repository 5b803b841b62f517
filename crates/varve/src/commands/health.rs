//! `varve health`.

use clap::Args;
use serde::Serialize;

use crate::cli::Connect;
use crate::commands::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, table_or_json};

/// What the server calls the service that is ready when it can take and give records.
const READY_SERVICE: &str = "varve.v1.LogService";

const AFTER_HELP: &str = "\
Ends with 0 if the server can serve, 3 if there is none, 9 if it is there and cannot.

Examples:
  varve health
  varve health --server varve://127.0.0.1:8500 -o json";

/// What `health` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct HealthArgs {
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, Serialize)]
struct Health {
    ready: bool,
    cluster_id: String,
    servers: Vec<Server>,
}

#[derive(Debug, Serialize)]
struct Server {
    id: u64,
    name: String,
    rpc_addr: String,
    leader: bool,
}

/// Asks, and says what was answered.
pub(crate) async fn run(args: HealthArgs) -> Result<(), Failure> {
    let health = ask(&args.connect).await?;
    let mut out = Output::new();
    if args.output == Format::Json {
        out.json(&health, true)?;
    } else {
        out.line(if health.ready { "ready" } else { "not ready" })?;
        if !health.cluster_id.is_empty() {
            out.line(&format!("cluster {}", health.cluster_id))?;
        }
        for server in &health.servers {
            let leads = if server.leader { ", leads" } else { "" };
            out.line(&format!("server {} {} at {}{leads}", server.id, server.name, server.rpc_addr))?;
        }
    }
    out.flush()?;
    if health.ready {
        Ok(())
    } else {
        Err(Failure::new(Exit::Unhealthy, "the server is there, but cannot serve"))
    }
}

async fn ask(connect: &Connect) -> Result<Health, Failure> {
    let connection = Connection::open(connect).await?;
    let client = &connection.client;
    let ready =
        client.is_serving(READY_SERVICE).await.map_err(|error| connection.fail("ask for health", &error))?;
    if !ready {
        // A server without its place does not know of any, and a probe wants its answer now.
        return Ok(Health { ready, cluster_id: String::new(), servers: Vec::new() });
    }
    let answer = client.servers().await.map_err(|error| connection.fail("ask for the servers", &error))?;
    let servers = answer.servers.into_iter();
    let servers = servers.map(|server| Server {
        id: server.id,
        name: server.name,
        rpc_addr: server.rpc_addr,
        leader: server.is_leader,
    });
    Ok(Health { ready, cluster_id: answer.cluster_id, servers: servers.collect() })
}

//! `varve cluster health`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use varve_api::v1::{GetClusterHealthResponse, LaggingReplica};

use super::counted;
use crate::cli::Connect;
use crate::commands::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, table_or_json};
use crate::units::{human_duration, parse_duration};

/// How long to wait where nothing is said.
const WAIT: &str = "60s";
/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Examples.
pub(crate) const AFTER_HELP: &str = "\
Ends with 0 if the cluster is healthy, 3 if no server answers, 9 if it is not healthy: while
- a server is not alive, or its disk is full,
- a partition has no leader, or fewer copies alive than it should,
- a copy is damaged, or more than five seconds behind.
A topic that asks for more copies than there are servers is a warning.

Examples:
  varve cluster health
  varve cluster health --wait=2m && ./deploy
  varve cluster health --strict           warnings count as well";

/// What `cluster health` takes.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Wait until it is healthy, for so long [default: 60s]
    #[arg(short, long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = WAIT, value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Take it for unhealthy where there are warnings, too
    #[arg(long)]
    strict: bool,
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, Serialize)]
struct Health {
    healthy: bool,
    controller_leader: Option<u64>,
    partitions: u32,
    leaderless_partitions: u32,
    under_replicated_partitions: u32,
    moving_partitions: u32,
    damaged_replicas: u32,
    lagging_replicas: u32,
    short_partitions: u32,
    dead_servers: Vec<u64>,
    full_servers: Vec<u64>,
    problems: Vec<String>,
    warnings: Vec<String>,
    /// The first of those that lag.
    lagging: Vec<Lagging>,
}

#[derive(Debug, Serialize)]
struct Lagging {
    topic: String,
    partition: u32,
    server: u64,
    offsets: u64,
    lag_ms: Option<u64>,
}

/// Asks, perhaps until the answer is good, and says what was answered.
pub(crate) async fn run(args: HealthArgs) -> Result<(), Failure> {
    let health = match args.wait {
        Some(wait) => wait_for(&args, wait).await?,
        None => ask(&Connection::open(&args.connect).await?, args.strict).await?,
    };
    let mut out = Output::new();
    if args.output == Format::Json {
        out.json(&health, true)?;
    } else {
        health.lines().iter().try_for_each(|line| out.line(line))?;
    }
    out.flush()?;
    if health.healthy {
        return Ok(());
    }
    let still = args.wait.map_or_else(String::new, |wait| format!(" after {}", human_duration(wait)));
    let what = match health.problems.len() {
        0 => counted(health.warnings.len(), "warning"),
        count => counted(count, "problem"),
    };
    let message = format!("the cluster is not healthy{still}: {what}");
    Err(Failure::new(Exit::Unhealthy, message))
}

async fn ask(connection: &Connection, strict: bool) -> Result<Health, Failure> {
    let health = connection.client.cluster_health().await;
    let health = health.map_err(|error| connection.fail("ask for the cluster's health", &error))?;
    Ok(Health::new(health, strict))
}

/// Asks until the cluster is healthy, or the time is up: then the last answer counts, also that there was none.
async fn wait_for(args: &HealthArgs, wait: Duration) -> Result<Health, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = match Connection::open_within(&args.connect, left.max(LOOK_INTERVAL)).await {
            Ok(connection) => ask(&connection, args.strict).await,
            Err(failure) => Err(failure),
        };
        let good_or_hopeless = match &answer {
            Ok(health) => health.healthy,
            Err(failure) => !matches!(failure.exit, Exit::Unavailable | Exit::Timeout),
        };
        if good_or_hopeless || Instant::now() + LOOK_INTERVAL >= deadline {
            return answer;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

impl Health {
    /// As the server says; where it is `strict` warnings make it unhealthy.
    fn new(health: GetClusterHealthResponse, strict: bool) -> Self {
        let lagging = health.servers.into_iter().flat_map(|server| server.lagging);
        Self {
            healthy: health.healthy && (!strict || health.warnings.is_empty()),
            controller_leader: health.controller_leader,
            partitions: health.partitions,
            leaderless_partitions: health.leaderless_partitions,
            under_replicated_partitions: health.under_replicated_partitions,
            moving_partitions: health.moving_partitions,
            damaged_replicas: health.damaged_replicas,
            lagging_replicas: health.lagging_replicas,
            short_partitions: health.short_partitions,
            dead_servers: health.dead_servers,
            full_servers: health.full_servers,
            problems: health.problems,
            warnings: health.warnings,
            lagging: lagging.map(Lagging::new).collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![if self.healthy { "healthy" } else { "unhealthy" }.to_owned()];
        lines.extend(self.problems.iter().map(|problem| format!("- {problem}")));
        lines.extend(self.warnings.iter().map(|warning| format!("- warning: {warning}")));
        let mut counts = counted(self.partitions as usize, "partition");
        let parts = [
            (self.leaderless_partitions, "without a leader"),
            (self.under_replicated_partitions, "under-replicated"),
            (self.moving_partitions, "moving"),
            (self.short_partitions, "with fewer copies than asked for"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !parts.is_empty() {
            counts = format!("{counts}: {}", parts.join(", "));
        }
        lines.push(counts);
        if self.damaged_replicas > 0 {
            lines.push(counted(self.damaged_replicas as usize, "damaged replica"));
        }
        if self.lagging_replicas > 0 {
            lines.push(counted(self.lagging_replicas as usize, "lagging replica"));
        }
        lines
    }
}

impl Lagging {
    fn new(lagging: LaggingReplica) -> Self {
        let LaggingReplica { topic, partition, server, offsets, lag_ms } = lagging;
        Self { topic, partition, server, offsets, lag_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_a_line_each() {
        let health = GetClusterHealthResponse {
            partitions: 3,
            under_replicated_partitions: 2,
            moving_partitions: 1,
            damaged_replicas: 1,
            lagging_replicas: 2,
            problems: vec!["server 3 (node-3) is not alive".into()],
            ..GetClusterHealthResponse::default()
        };
        let health = Health::new(health, false);
        let expected = [
            "unhealthy",
            "- server 3 (node-3) is not alive",
            "3 partitions: 2 under-replicated, 1 moving",
            "1 damaged replica",
            "2 lagging replicas",
        ];
        assert_eq!(health.lines(), expected);
        let good = GetClusterHealthResponse { healthy: true, partitions: 1, ..Default::default() };
        assert_eq!(Health::new(good.clone(), true).lines(), ["healthy", "1 partition"]);
        let warned = GetClusterHealthResponse { warnings: vec!["few".into()], short_partitions: 1, ..good };
        let expected = ["healthy", "- warning: few", "1 partition: 1 with fewer copies than asked for"];
        assert_eq!(Health::new(warned.clone(), false).lines(), expected);
        assert_eq!(Health::new(warned, true).lines()[0], "unhealthy");
    }
}

//! What it costs a server to count and time what it does.

use crate::Failure;
use crate::report::Report;
use crate::servers::{Servers, create_topic};
use crate::statistics::median_rate;
use std::path::Path;
use std::time::Duration;
use varve_client::{Client, ProducerRecord};

/// Rounds, each with and without; their order changes from one to the next.
const ROUNDS: u32 = 9;
/// Records of a round that go in batches, at scale one, and bytes of each.
const RECORDS: u32 = 400_000;
const RECORD_BYTES: usize = 1024;
/// Records that go one at a time.
const SINGLE_RECORDS: u32 = 4_000;

/// Processor time that a record costs the server, with and without: what a machine is busy with besides counts for neither.
pub(crate) async fn all(binary: &Path, dir: &Path, scale: u32) -> Result<Report, Failure> {
    let mut report = Report::default();
    let (with, client_with, _) =
        Servers::start_with(binary, &dir.join("with"), 1, &["--metrics=true"]).await?;
    let (without, client_without, _) =
        Servers::start_with(binary, &dir.join("without"), 1, &["--metrics=false"]).await?;
    create_topic(&with, &client_with, "t", 1).await?;
    create_topic(&without, &client_without, "t", 1).await?;
    for (name, records, one_at_a_time) in
        [("in batches", RECORDS / scale, false), ("one at a time", SINGLE_RECORDS / scale, true)]
    {
        let mut ratios = Vec::new();
        let (mut costs_with, mut costs_without) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (mut cost_with, mut cost_without) = (0.0, 0.0);
            for turn in 0..2 {
                if (round + turn) % 2 == 0 {
                    cost_with = cost(&with, &client_with, records, one_at_a_time).await?;
                } else {
                    cost_without = cost(&without, &client_without, records, one_at_a_time).await?;
                }
            }
            ratios.push(cost_with / cost_without);
            costs_with.push(cost_with);
            costs_without.push(cost_without);
        }
        let (cost_with, cost_without) = (median_rate(&mut costs_with), median_rate(&mut costs_without));
        report.plain(
            &format!("{name}: processor time for a record, with metrics and without"),
            format!("{:.2} us, {:.2} us", cost_with * 1e6, cost_without * 1e6),
        );
        report.plain(
            "more with metrics (median of the rounds' ratios)",
            format!("{:+.1} %", (median_rate(&mut ratios) - 1.0) * 100.0),
        );
    }
    Ok(report)
}

/// Seconds of processor time that each record costs the server.
async fn cost(servers: &Servers, client: &Client, records: u32, one_at_a_time: bool) -> Result<f64, Failure> {
    let producer =
        client.producer("t").linger(Duration::from_millis(if one_at_a_time { 0 } else { 5 })).build().await?;
    let value = vec![b'v'; RECORD_BYTES];
    let before = servers.used()?.cpu;
    for _ in 0..records {
        let delivery = producer.send(ProducerRecord::new(value.clone())).await?;
        if one_at_a_time {
            delivery.await?;
        }
    }
    producer.close().await?;
    let used = servers.used()?.cpu.saturating_sub(before);
    Ok(used.as_secs_f64() / f64::from(records))
}

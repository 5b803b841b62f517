//! What servers cost that nobody uses.

use crate::Failure;
use crate::report::Report;
use crate::servers::{Servers, create_topic};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long is looked at, at scale one.
const IDLE_TIME: Duration = Duration::from_secs(20);
/// Partitions of the topics that are made one after the other: 1 and 100 in all.
const PARTITIONS: [u32; 2] = [1, 99];

/// Starts one server and then three, and measures the processors' time that they take without any load, and their memory.
pub(crate) async fn all(binary: &Path, dir: &Path, scale: u32) -> Result<Report, Failure> {
    let mut report = Report::default();
    for nodes in [1, 3] {
        let dir = dir.join(nodes.to_string());
        let (servers, client, _) = Servers::start(binary, &dir, nodes).await?;
        let mut partitions = 0;
        for (number, more) in PARTITIONS.iter().enumerate() {
            partitions += more;
            create_topic(&servers, &client, &format!("idle-{number}"), *more).await?;
            // What was begun by it comes to its end.
            tokio::time::sleep(IDLE_TIME / scale / 4).await;
            let (before, started) = (servers.used()?, Instant::now());
            tokio::time::sleep(IDLE_TIME / scale).await;
            let after = servers.used()?;
            let share =
                (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / started.elapsed().as_secs_f64();
            let name = format!("{nodes} idle with {partitions} partitions: of one core, all together");
            report.plain(&name, format!("{:.2} %", share * 100.0));
            report.plain("memory, of the largest", format!("{:.1} MB", after.memory_bytes_max as f64 / 1e6));
        }
    }
    Ok(report)
}

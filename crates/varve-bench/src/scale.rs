//! What many partitions cost three servers, and how soon they are led again when one dies.

use crate::Failure;
use crate::report::Report;
use crate::servers::{Servers, Used, create_topic_within};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::path::Path;
use std::time::{Duration, Instant};
use varve_client::{Client, ClientError, api::v1};

/// Partitions of the one topic, each time in a cluster of its own.
const PARTITIONS: [u32; 3] = [10, 100, 1_000];
const NODES: usize = 3;
/// How long a topic may take until all of it is led and settled.
const CREATE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long is waited for what was begun by it to come to its end, and how long is looked at, at scale one.
const SETTLE_TIME: Duration = Duration::from_secs(10);
const IDLE_TIME: Duration = Duration::from_secs(20);
/// Partitions that are written to at the same time, to see that they take a record.
const WRITERS: usize = 64;
/// How long a partition may take none before this gives up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one try may take.
const WRITE_TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before a partition that took no record is given one again.
const WRITE_PAUSE: Duration = Duration::from_millis(50);

/// Measures 10, 100 and 1,000 partitions; `scale` divides the time that is looked at, and above one leaves out the most.
pub(crate) async fn all(binary: &Path, dir: &Path, scale: u32) -> Result<Report, Failure> {
    let mut report = Report::default();
    let counts = PARTITIONS.iter().take(if scale > 1 { PARTITIONS.len() - 1 } else { PARTITIONS.len() });
    for partitions in counts {
        let dir = dir.join(partitions.to_string());
        measure(binary, &dir, scale, *partitions, &mut report).await?;
        eprintln!("{partitions} partitions measured");
    }
    Ok(report)
}

async fn measure(
    binary: &Path,
    dir: &Path,
    scale: u32,
    partitions: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut servers, _, _) = Servers::start(binary, dir, NODES).await?;
    // The answer to a topic of a thousand partitions takes its time.
    let client = servers.client(CREATE_TIMEOUT).await?;
    let before = servers.used()?;
    let began = Instant::now();
    create_topic_within(&servers, &client, "scale", partitions, CREATE_TIMEOUT).await?;
    let created = began.elapsed();
    eprintln!("{partitions} partitions made in {}", seconds(created));
    let creating = servers.used()?.cpu.saturating_sub(before.cpu);
    tokio::time::sleep(SETTLE_TIME / scale).await;
    let (idle, memory) = idle(&servers, scale).await?;
    eprintln!("{partitions} partitions: idle {:.1} %, {} MB", idle * 100.0, memory.memory_bytes / 1_000_000);
    let killed = Instant::now();
    servers.kill_first()?;
    // A new one knows no leader, and asks those who are left.
    let client = servers.client(WRITE_TRY_TIMEOUT).await?;
    let (half, all) = until_written(&client, partitions, killed).await?;

    let load = std::fs::read_to_string("/proc/loadavg")?;
    let mut row = |name: &str, figure| report.plain(&format!("{partitions} partitions: {name}"), figure);
    row("made, led and settled after", seconds(created));
    row("processor time of all servers for it", seconds(creating));
    row("idle, of one core, all servers together", format!("{:.1} %", idle * 100.0));
    row("memory, all servers together", format!("{:.0} MB", memory.memory_bytes as f64 / 1e6));
    row("memory before there were any", format!("{:.0} MB", before.memory_bytes as f64 / 1e6));
    row("threads, all servers together", memory.threads.to_string());
    row("half of them take a record again after one server is killed", seconds(half));
    row("all of them do", seconds(all));
    row("load of the machine (1, 5 and 15 minutes)", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// The share of one core that the servers take together, and what they hold at the end.
async fn idle(servers: &Servers, scale: u32) -> Result<(f64, Used), Failure> {
    let (before, began) = (servers.used()?, Instant::now());
    tokio::time::sleep(IDLE_TIME / scale).await;
    let after = servers.used()?;
    let share = after.cpu.saturating_sub(before.cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    Ok((share, after))
}

/// When half of the partitions, and when all, have taken a record since a moment.
async fn until_written(
    client: &Client,
    partitions: u32,
    since: Instant,
) -> Result<(Duration, Duration), Failure> {
    let times = stream::iter(0..partitions)
        .map(|partition| async move {
            until_one_is_written(client, partition).await?;
            Ok::<_, Failure>(since.elapsed())
        })
        .buffer_unordered(WRITERS);
    let mut times: Vec<_> = times.try_collect().await?;
    times.sort_unstable();
    let half = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok((half, times.last().copied().unwrap_or_default()))
}

async fn until_one_is_written(client: &Client, partition: u32) -> Result<(), ClientError> {
    let began = Instant::now();
    loop {
        let record = v1::ProduceRecord { value: Some("x".into()), ..Default::default() };
        let request = v1::ProduceRequest {
            topic: "scale".to_owned(),
            partition: Some(partition),
            records: vec![record],
            ..Default::default()
        };
        match client.produce(request).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > WRITE_TIMEOUT => return Err(error),
            Err(_) => tokio::time::sleep(WRITE_PAUSE).await,
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

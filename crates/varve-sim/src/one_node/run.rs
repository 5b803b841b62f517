//! One run: rounds of work, each ended by a power cut, then a last look at the log.

use super::client::{Producer, Values, consume, read};
use super::recorder::Recorder;
use super::world::{Node, World};
use crate::Sync;
use futures::future::join_all;
use futures::join;
use varve_check::{History, Violation, check};
use varve_env::disk::CrashMode;
use varve_env::{Entropy, SeededEntropy};
use varve_record::Offset;

const ROUNDS: u64 = 8;
const PRODUCERS: u64 = 4;
const APPENDS_MAX: u64 = 60;
const READS_MAX: u64 = 30;
/// A power cut comes after at most this many changes of the disk.
const CHANGES_MAX: u64 = 200;

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A digest of all that clients asked and were told, in order: equal for equal runs.
    pub digest: u64,
    /// Appends that were acknowledged.
    pub acknowledged: usize,
    /// Power cuts.
    pub crashes: u64,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// Why the node could not be started, where it could not.
    pub failed_start: Option<String>,
}

impl Report {
    /// Whether all promises were kept.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty() && self.failed_start.is_none()
    }
}

/// Runs a seed.
///
/// # Panics
/// Where the runtime cannot be made.
#[must_use]
pub fn run(seed: u64, sync: Sync) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without threads and sockets can always be made").block_on(simulate(seed, sync))
}

async fn simulate(seed: u64, sync: Sync) -> Report {
    let entropy = SeededEntropy::new(seed ^ 0x5157_0000);
    let (recorder, values) = (Recorder::default(), Values::default());
    let mut producers: Vec<_> = (0..PRODUCERS).map(|n| producer(n, seed)).collect();
    let mut world = World::new(seed, sync);
    let mut crashes = 0;
    for round in 0..ROUNDS {
        world.disk.halt_after(1 + entropy.below(CHANGES_MAX));
        // A node whose power goes while it starts is started again in the next round.
        if let Ok(node) = world.start().await {
            work(&node, &mut producers, &recorder, &values, round, &entropy).await;
        }
        let mode = [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly][pick(&entropy, 3)];
        world.cut_power(mode);
        crashes += 1;
    }
    let (log, failed_start) = match world.start().await {
        Ok(node) => (whole_log(&node).await, None),
        Err(error) => (Ok(Vec::new()), Some(error.to_string())),
    };
    let (log, failed_start) = match log {
        Ok(log) => (log, failed_start),
        Err(error) => (Vec::new(), Some(error)),
    };
    report(seed, crashes, &recorder, &log, failed_start)
}

fn producer(n: u64, seed: u64) -> Producer {
    Producer::new(i64::try_from(n).unwrap_or(0), seed ^ (n << 32))
}

async fn work(
    node: &Node,
    producers: &mut [Producer],
    recorder: &Recorder,
    values: &Values,
    round: u64,
    entropy: &SeededEntropy,
) {
    let appends: Vec<_> = producers.iter().map(|_| entropy.below(APPENDS_MAX)).collect();
    let writing = producers
        .iter_mut()
        .zip(appends)
        .map(|(producer, count)| producer.run(&node.partition, recorder, values, count));
    let reading = consume(&node.partition, recorder, round, entropy.below(READS_MAX));
    join!(join_all(writing), reading);
    node.storage.tick();
    // A clean stop now and then, which may itself meet the power cut.
    if entropy.below(3) == 0 {
        drop(node.storage.close());
    }
}

async fn whole_log(node: &Node) -> Result<Vec<u64>, String> {
    let mut log = Vec::new();
    loop {
        let (values, high_watermark) =
            read(&node.partition, Offset::new(log.len() as u64)).await.map_err(|error| error.to_string())?;
        if values.is_empty() {
            return match Offset::new(log.len() as u64) == high_watermark {
                true => Ok(log),
                false => {
                    Err(format!("the log ends at {} below its high watermark {high_watermark}", log.len()))
                }
            };
        }
        log.extend(values);
    }
}

fn report(seed: u64, crashes: u64, recorder: &Recorder, log: &[u64], failed_start: Option<String>) -> Report {
    let mut history = History::default();
    let mut acknowledged = 0;
    for event in recorder.events() {
        if let varve_check::Event::Complete { outcome: varve_check::Outcome::Appended { .. }, .. } = event {
            acknowledged += 1;
        }
        history.record(event).expect("the recorder contradicts nothing");
    }
    let violations = check(&history, Offset::new(0), log);
    Report { seed, digest: recorder.digest(), acknowledged, crashes, violations, failed_start }
}

fn pick(entropy: &SeededEntropy, count: u64) -> usize {
    usize::try_from(entropy.below(count)).unwrap_or(0)
}

//! Waits until the partitions of a new topic have leaders.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep};
use varve_api::v1::Topic;
use varve_client::Client;

use crate::cli::Verbosity;
use crate::terminal::stderr_is_terminal;

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long it may take until one more partition has a leader.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(5);

const BAR: &str = "{wide_bar} {pos}/{len} partitions have a leader";

/// Looks at a topic that has just been made until every partition has a leader, or no more get one; gives how many have none.
pub(super) async fn wait(client: &Client, made: Topic, verbosity: Verbosity) -> usize {
    let (name, count) = (made.name.clone(), made.partitions.len());
    let mut led = led(&made);
    let mut last = Instant::now();
    let bar = bar(count, verbosity);
    while led < count && last.elapsed() < PROGRESS_TIMEOUT {
        bar.set_position(led as u64);
        sleep(LOOK_INTERVAL).await;
        // The topic is made: an answer that does not come takes nothing away from that.
        let Ok(topic) = client.describe_topic(&name).await else { continue };
        let now = self::led(&topic);
        if now > led {
            (led, last) = (now, Instant::now());
        }
    }
    bar.finish_and_clear();
    count.saturating_sub(led)
}

fn led(topic: &Topic) -> usize {
    topic.partitions.iter().filter(|partition| partition.leader.is_some()).count()
}

fn bar(count: usize, verbosity: Verbosity) -> ProgressBar {
    if verbosity.quiet || !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

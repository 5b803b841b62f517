//! The servers as they change.

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use varve_api::error::ApiError;
use varve_api::limits::WATCH_HEARTBEAT_MS;
use varve_api::v1;

use crate::cluster::ClusterView;
use crate::drain::Drain;

/// How often it is looked whether anything changed. What is watched has several sources, and none changes often.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// After how long without a change those who watch are told that this node is there.
const HEARTBEAT: Duration = Duration::from_millis(WATCH_HEARTBEAT_MS);

/// The servers now, and again whenever they have changed; where they do not, a word now and then without them. Ends with an error when the node is about to stop.
pub(crate) fn servers(
    view: ClusterView,
    drain: Drain,
) -> impl Stream<Item = Result<v1::WatchServersResponse, ApiError>> {
    let (changes, mut taken) = mpsc::channel(1);
    drop(tokio::spawn(watch(view, drain, changes)));
    futures::stream::poll_fn(move |cx| taken.poll_recv(cx))
}

async fn watch(
    view: ClusterView,
    drain: Drain,
    changes: mpsc::Sender<Result<v1::WatchServersResponse, ApiError>>,
) {
    let (mut last, mut said_at) = (None, Instant::now());
    loop {
        let servers = Some(view.servers());
        let has_changed = servers != last;
        if has_changed || said_at.elapsed() >= HEARTBEAT {
            let response = v1::WatchServersResponse { servers: servers.clone().filter(|_| has_changed) };
            if changes.send(Ok(response)).await.is_err() {
                return;
            }
            (last, said_at) = (servers, Instant::now());
        }
        tokio::select! {
            biased;
            () = changes.closed() => return,
            () = drain.begun() => return drop(changes.send(Err(Drain::error())).await),
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

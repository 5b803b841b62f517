//! The servers as they change.

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use varve_api::error::ApiError;
use varve_api::v1;

use crate::cluster::ClusterView;
use crate::drain::Drain;

/// How often it is looked whether anything changed. What is watched has several sources, and none changes often.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The servers now, and again whenever they have changed. Ends with an error when the node is about to stop.
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
    let mut last = None;
    loop {
        let servers = view.servers();
        if last.as_ref() != Some(&servers) {
            let response = v1::WatchServersResponse { servers: Some(servers.clone()) };
            if changes.send(Ok(response)).await.is_err() {
                return;
            }
            last = Some(servers);
        }
        tokio::select! {
            biased;
            () = changes.closed() => return,
            () = drain.begun() => return drop(changes.send(Err(Drain::error())).await),
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

//! The servers as they change, worked out once for all who watch them.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use varve_api::error::ApiError;
use varve_api::limits::WATCH_HEARTBEAT_MS;
use varve_api::v1;

use crate::cluster::ClusterView;
use crate::drain::Drain;

/// How long changes are gathered: they come in bursts, and each look counts all partitions.
const SETTLE: Duration = Duration::from_millis(50);

/// After how long without a change those who watch are told that this node is there.
const HEARTBEAT: Duration = Duration::from_millis(WATCH_HEARTBEAT_MS);

/// The servers as they are, shared by all who watch them. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    known: watch::Receiver<Arc<v1::GetServersResponse>>,
}

impl Servers {
    /// The servers, and what keeps them known, for ever.
    pub(crate) fn of(view: ClusterView) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (publish, known) = watch::channel(Arc::new(view.servers()));
        (Self { known }, follow(view, publish))
    }

    /// The servers now, and again whenever they have changed; where they do not, a word now and then without them. Ends with
    /// an error when the node is about to stop.
    pub(crate) fn watch(
        &self,
        drain: Drain,
    ) -> impl Stream<Item = Result<v1::WatchServersResponse, ApiError>> + Send + use<> {
        let (changes, mut taken) = mpsc::channel(1);
        drop(varve_env::spawn_task(tell(self.known.clone(), drain, changes)));
        futures::stream::poll_fn(move |cx| taken.poll_recv(cx))
    }
}

/// Looks again whenever something has changed that the servers are made of.
async fn follow(view: ClusterView, publish: watch::Sender<Arc<v1::GetServersResponse>>) {
    let (mut metadata, mut presence) = (view.metadata.follow(), view.presence.changes());
    let mut controller = view.metadata.follow_progress();
    loop {
        metadata.borrow_and_update();
        presence.borrow_and_update();
        controller.now();
        let servers = view.servers();
        let is_led = servers.servers.iter().any(|server| server.is_leader);
        publish_if_new(&publish, servers);
        tokio::select! {
            changed = metadata.changed() => if changed.is_err() { return },
            changed = controller.changed() => if changed.is_err() { return },
            () = crate::cluster::changed(&mut presence) => {}
            () = silence(&view), if is_led => {}
        }
        sleep(SETTLE).await;
    }
}

/// Returns once the controller's leader has said nothing for so long that it is not named any more, which nobody tells.
async fn silence(view: &ClusterView) {
    while view.controller_leader().is_some() {
        match view.metadata.leader_known_until() {
            Some(until) => sleep_until(until).await,
            // This node leads.
            None => std::future::pending().await,
        }
    }
}

fn publish_if_new(publish: &watch::Sender<Arc<v1::GetServersResponse>>, servers: v1::GetServersResponse) {
    publish.send_if_modified(|known| {
        let is_new = **known != servers;
        if is_new {
            *known = Arc::new(servers);
        }
        is_new
    });
}

/// Tells one who watches.
async fn tell(
    mut known: watch::Receiver<Arc<v1::GetServersResponse>>,
    drain: Drain,
    changes: mpsc::Sender<Result<v1::WatchServersResponse, ApiError>>,
) {
    known.mark_changed();
    let mut said_at = Instant::now();
    loop {
        let response = tokio::select! {
            biased;
            () = changes.closed() => return,
            () = drain.begun() => return drop(changes.send(Err(Drain::error())).await),
            changed = known.changed() => match changed {
                Ok(()) => v1::WatchServersResponse { servers: Some((**known.borrow_and_update()).clone()) },
                Err(_) => return,
            },
            () = sleep_until(said_at + HEARTBEAT) => v1::WatchServersResponse::default(),
        };
        if changes.send(Ok(response)).await.is_err() {
            return;
        }
        said_at = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn servers(id: u64) -> v1::GetServersResponse {
        v1::GetServersResponse { last_server_id: id, ..v1::GetServersResponse::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_watch_share_one_look() {
        let (publish, known) = watch::channel(Arc::new(servers(1)));
        let shared = Servers { known };
        let mut watches: Vec<_> = (0..3).map(|_| Box::pin(shared.watch(Drain::default()))).collect();
        for id in [1, 2] {
            publish_if_new(&publish, servers(id));
            for watch in &mut watches {
                let told = watch.next().await.unwrap().unwrap();
                assert_eq!(told.servers, Some(servers(id)));
            }
        }
        publish_if_new(&publish, servers(2));
        for watch in &mut watches {
            assert_eq!(
                watch.next().await.unwrap().unwrap().servers,
                None,
                "what is not new is not told again"
            );
        }
    }
}

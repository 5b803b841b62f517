use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tonic::{Response, Status};
use varve_api::error::{ApiError, Reason};
use varve_api::limits::WATCH_HEARTBEAT_MS;
use varve_api::v1;

use super::Resolver;
use crate::backoff::Backoff;
use crate::client::cluster_service;
use crate::connection::Connection;
use crate::failure::is_of_one_server;

/// How long a server that has said that it is there may say nothing before another is watched. One that stands still would
/// else be noticed only by the connection's keep-alive, and until then the client would wait for a leader that has gone.
const SILENCE_MAX: Duration = Duration::from_millis(3 * WATCH_HEARTBEAT_MS);

/// The task that follows the cluster's servers. It ends with this.
#[derive(Debug)]
pub(crate) struct Watcher(AbortHandle);

impl Watcher {
    pub(crate) fn start(resolver: Arc<Resolver>) -> Self {
        Self(varve_env::spawn_task(async move { resolver.follow().await }).abort_handle())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Resolver {
    /// Has one server after the other tell of changes; asks now and then where none does.
    async fn follow(&self) {
        let mut backoff = Backoff::default();
        loop {
            let addr = self.any().await;
            let error = self.watch(&addr, &mut backoff).await;
            self.state().is_watched = false;
            tracing::debug!(%error, server = &*addr, "servers are not watched any more");
            if is_of_one_server(&error) {
                self.failed(&addr);
                sleep(backoff.next(&*self.options.env.entropy)).await;
            } else {
                self.poll(&addr).await;
                sleep(self.options.servers_interval).await;
            }
        }
    }

    /// Follows what a server tells, until it ends.
    async fn watch(&self, addr: &Arc<str>, backoff: &mut Backoff) -> ApiError {
        let mut doubted = std::pin::pin!(self.doubted(addr));
        let opened = self.ask(addr, |connection| async move {
            cluster_service(connection).watch_servers(v1::WatchServersRequest {}).await
        });
        let mut stream = match opened.await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let mut due = self.options.attempt_timeout;
        loop {
            let told = tokio::select! {
                biased;
                told = timeout(due, stream.message()) => told,
                () = &mut doubted => return ApiError::new(Reason::NoLeader, "server knows of no leader"),
            };
            let message = match told {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return ApiError::new(Reason::ConnectionLost, "server ended the stream"),
                Ok(Err(status)) => return self.failure(addr, &status),
                Err(_) => return ApiError::new(Reason::Deadline, "server tells nothing"),
            };
            // The first comes at once. After that there is no saying when the next change is, but for servers that speak in
            // between.
            due = if message.servers.is_none() || due == SILENCE_MAX { SILENCE_MAX } else { Duration::MAX };
            backoff.reset();
            self.answered(addr);
            let Some(servers) = message.servers else { continue };
            self.take(&servers, addr, false);
            self.state().is_watched = true;
        }
    }

    async fn poll(&self, addr: &Arc<str>) {
        let asked = self.ask(addr, |connection| async move {
            cluster_service(connection).get_servers(v1::GetServersRequest {}).await
        });
        match asked.await {
            Ok(servers) => self.learn(&servers, addr),
            Err(error) => {
                tracing::debug!(%error, server = &**addr, "servers are not known anew");
                self.failed(addr);
            }
        }
    }

    async fn ask<T, F, Fut>(&self, addr: &Arc<str>, call: F) -> Result<T, ApiError>
    where
        F: FnOnce(Connection) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        // A call of our own, which says nothing of how busy the server is.
        let (channel, _) = self.begin(addr)?;
        let answer = timeout(self.options.attempt_timeout, call(Connection::to_any(channel))).await;
        let answer = answer.map_err(|_| ApiError::new(Reason::Deadline, "server gives no answer"))?;
        answer.map(Response::into_inner).map_err(|status| self.failure(addr, &status))
    }
}

//! The client against a small double of a server, which can be told to fail.

mod calls;
mod consumer;
mod fake;
mod faults;
mod producer;

use std::future::Future;
use std::time::Duration;

use varve_client::{Client, ClientBuilder};

use crate::fake::FakeCluster;

/// Fails a scenario that hangs. Generous: it is no measurement.
async fn within<T>(scenario: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), scenario).await.expect("the scenario hangs")
}

/// A client with timeouts short enough for scenarios in which they pass.
fn impatient() -> ClientBuilder {
    Client::builder()
        .connect_timeout(Duration::from_millis(500))
        .attempt_timeout(Duration::from_millis(300))
        .call_timeout(Duration::from_secs(2))
}

async fn connect(cluster: &FakeCluster) -> Client {
    Client::connect(&cluster.address()).await.expect("the fake cluster is up")
}

//! The client against a small double of a server, which can be told to fail.

mod calls;
mod chaos;
mod cluster;
mod consumer;
mod fake;
mod faults;
mod picking;
mod pki;
mod producer;
mod servers;
mod tls;

use std::future::Future;
use std::time::Duration;

use varve_client::{Client, ClientBuilder};

use crate::fake::FakeCluster;

/// Fails a scenario that hangs. Generous: it is no measurement.
async fn within<T>(scenario: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), scenario).await.expect("the scenario hangs")
}

/// Waits for a state that nothing tells of.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
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

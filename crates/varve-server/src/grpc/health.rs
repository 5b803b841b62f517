//! Whether the node is alive, and what it serves: `grpc.health.v1`.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::condition::{Checks, Condition};
use crate::limits::OPEN_REQUEST_BYTES_MAX;

/// The names that can be asked for. The empty one says that the process answers, the services that they are served.
const ALIVE: &str = "";
const SERVICES: [&str; 3] = ["varve.v1.LogService", "varve.v1.ClusterService", "log.v1.Log"];
/// That records are taken: with a full disk they are only read.
const PRODUCE: &str = "varve.produce";
/// That every replica that should lie here does, and is whole.
const REPLICAS: &str = "varve.replicas";

/// Says how the node is, to those who ask and to those who watch. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Health(HealthReporter);

impl Health {
    /// Alive, and not yet ready.
    pub(crate) async fn new() -> Self {
        let health = Self(HealthReporter::new());
        health.tell(&Condition::starting().now()).await;
        health
    }

    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
            .max_decoding_message_size(OPEN_REQUEST_BYTES_MAX)
    }

    /// Says how the node is as that changes, for ever.
    pub(crate) async fn follow(self, condition: Condition) {
        let mut changes = condition.follow();
        loop {
            let checks = changes.borrow_and_update().clone();
            self.tell(&checks).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Says how the node is now.
    pub(crate) async fn tell(&self, checks: &Checks) {
        for service in SERVICES {
            self.set(service, checks.is_ready()).await;
        }
        self.set(PRODUCE, checks.takes_records()).await;
        self.set(REPLICAS, checks.has_its_replicas()).await;
    }

    /// Ends the streams of those who watch, which would otherwise keep their connections open.
    pub(crate) async fn close(&mut self) {
        for service in SERVICES.iter().chain(&[ALIVE, PRODUCE, REPLICAS]) {
            self.0.clear_service_status(service).await;
        }
    }

    async fn set(&self, service: &str, serves: bool) {
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.set_service_status(service, status).await;
    }
}

//! Whether the node is alive, and whether it serves: `grpc.health.v1`.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::limits::OPEN_REQUEST_BYTES_MAX;

/// The names that can be asked for. The empty one says that the process answers; the others, that what they name is
/// served.
const ALIVE: &str = "";
const SERVICES: [&str; 3] = ["varve.v1.LogService", "varve.v1.ClusterService", "log.v1.Log"];

/// Says how the node is, to those who ask and to those who watch. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct Health(HealthReporter);

impl Health {
    /// Alive, and not yet ready.
    pub(crate) async fn new() -> Self {
        let health = Self(HealthReporter::new());
        health.set(&SERVICES, ServingStatus::NotServing).await;
        health
    }

    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
            .max_decoding_message_size(OPEN_REQUEST_BYTES_MAX)
    }

    pub(crate) async fn ready(&self) {
        self.set(&SERVICES, ServingStatus::Serving).await;
    }

    /// Alive, but others should be asked.
    pub(crate) async fn not_ready(&self) {
        self.set(&SERVICES, ServingStatus::NotServing).await;
    }

    /// Ends the streams of those who watch, which would otherwise keep their connections open.
    pub(crate) async fn close(&mut self) {
        for service in SERVICES.iter().chain([&ALIVE]) {
            self.0.clear_service_status(service).await;
        }
    }

    async fn set(&self, services: &[&str], status: ServingStatus) {
        for service in services {
            self.0.set_service_status(service, status).await;
        }
    }
}

//! Metrics as Prometheus reads them.

use prometheus::{Encoder, Registry, TextEncoder};
use varve_telemetry::Exposition;

/// Prometheus' text format 0.0.4.
#[derive(Debug)]
pub(crate) struct PrometheusText(Registry);

impl PrometheusText {
    pub(crate) fn new(registry: Registry) -> Self {
        Self(registry)
    }
}

impl Exposition for PrometheusText {
    fn text(&self) -> Result<String, String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text).map_err(|error| error.to_string())?;
        String::from_utf8(text).map_err(|error| error.to_string())
    }
}

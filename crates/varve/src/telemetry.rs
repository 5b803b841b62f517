//! The telemetry of commands that ask a server, where the environment says where it goes: `OTEL_EXPORTER_OTLP_ENDPOINT`, as
//! other programs take it.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use varve_exporter::{ExportSettings, Exporter, OtlpSettings};
use varve_telemetry::Telemetry;

use crate::commands::version::VERSION;
use crate::failure::Failure;

/// Where it goes.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The authorities of an `https` endpoint.
const CA_FILE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
/// The share of batches that a trace is begun with; all, unless it is set.
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";

/// A command has no metrics that anybody would wait for.
const METRICS_INTERVAL: Duration = Duration::from_secs(60);

/// What was started, until it is finished.
static STARTED: LazyLock<Mutex<Option<Exporter>>> = LazyLock::new(Mutex::default);

/// Starts it, where it is to go anywhere. Within a runtime.
///
/// # Errors
/// If the environment says something that cannot be.
pub(crate) fn start() -> Result<Telemetry, Failure> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(endpoint) = set(ENDPOINT) else { return Ok(Telemetry::off()) };
    let trace_ratio = match set(RATIO) {
        None => 1.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .ok_or_else(|| Failure::usage(format!("{RATIO}: {text:?} is no number from 0 to 1")))?,
    };
    let otlp = OtlpSettings { endpoint, ca_file: set(CA_FILE).map(Into::into), interval: METRICS_INTERVAL };
    let settings = ExportSettings {
        service: "varve-cli",
        instance: std::process::id().to_string(),
        version: VERSION,
        otlp: Some(otlp),
        trace_ratio,
        trace_file: None,
    };
    let (exporter, telemetry) =
        Exporter::start(&settings).map_err(|error| Failure::usage(error.to_string()))?;
    *STARTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(exporter);
    Ok(telemetry)
}

/// Sends what is still to be sent, while the runtime is there. Blocks.
pub(crate) fn finish() {
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(exporter) = started {
        exporter.shutdown();
    }
}

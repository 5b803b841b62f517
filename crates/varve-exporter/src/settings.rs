//! What an exporter is told.

use std::path::PathBuf;
use std::time::Duration;

/// Who tells, and where it goes.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// The program, as traces name it.
    pub service: &'static str,
    /// Which of its instances: a node's name.
    pub instance: String,
    /// The program's version.
    pub version: &'static str,
    /// The collector that it is pushed to, if any. `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_EXPORTER_OTLP_TIMEOUT` count.
    pub otlp: Option<OtlpSettings>,
    /// The share of traces that are begun here, from 0 to 1; those that others began are always gone on with.
    pub trace_ratio: f64,
    /// A file that each span is added to, a line of JSON each.
    pub trace_file: Option<PathBuf>,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// Where it takes OTLP over gRPC, as `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoint: String,
    /// The authorities of its certificate, in PEM; with `https` alone.
    pub ca_file: Option<PathBuf>,
    /// How often metrics are pushed.
    pub interval: Duration,
}

//! Where telemetry goes: the one crate that knows OpenTelemetry's SDK.
//!
//! [`Exporter::start`] makes one meter provider with two readers, Prometheus' text and OTLP's push, and takes spans to OTLP or
//! a file. What it hands out is a [`varve_telemetry::Telemetry`], and nobody who tells something sees more than that.

mod collector;
mod error;
mod exporter;
mod exposition;
mod file;
mod settings;
mod sink;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::ExportError;
pub use exporter::Exporter;
pub use settings::{ExportSettings, OtlpSettings};

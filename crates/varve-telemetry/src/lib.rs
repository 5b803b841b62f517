//! What Varve tells of itself.
//!
//! - [`catalogue`]: every metric there is, in one table; `docs/metrics.md` is written from it.
//! - [`Telemetry`]: the handle that is passed down. It makes instruments of what stands in the table, and takes spans.
//! - [`TraceContext`], [`Spans`]: which trace a piece of work belongs to, and where its spans go.
//! - [`Stages`]: how long each stage of a commit takes, as a metric and as spans.
//!
//! The crate knows OpenTelemetry's interface alone. It must never know how anything is exported: `varve-exporter` does, and
//! where nothing is exported ([`Telemetry::off`]) every call here costs next to nothing.

pub mod catalogue;
mod context;
mod docs;
mod metric;
mod span;
mod stages;
mod telemetry;

pub use context::TraceContext;
pub use docs::reference;
pub use metric::{Kind, Label, Metric};
pub use opentelemetry::KeyValue;
pub use opentelemetry::metrics::{Counter, Histogram};
pub use span::{Span, SpanKind, SpanRecord, SpanSink, Spans};
pub use stages::{Stage, Stages};
pub use telemetry::{Exposition, Level, Observer, Telemetry};

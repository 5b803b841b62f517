//! Spans in a file, for whoever hunts a failure without a collector.

use crate::ExportError;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

/// A file that lines are added to.
#[derive(Debug)]
pub(crate) struct TraceFile(Mutex<File>);

impl TraceFile {
    pub(crate) fn create(path: &Path) -> Result<Self, ExportError> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|source| ExportError::File { path: path.to_path_buf(), source })?;
        Ok(Self(Mutex::new(file)))
    }

    fn write(&self, spans: &[SpanData]) -> std::io::Result<()> {
        let text: String = spans.iter().map(|span| format!("{}\n", line(span))).collect();
        // Two processes may have the file: a line is never torn by one write.
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(text.as_bytes())
    }
}

impl SpanExporter for TraceFile {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.write(&batch).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }
}

fn line(span: &SpanData) -> Value {
    let attributes: Map<String, Value> =
        span.attributes.iter().map(|kv| (kv.key.to_string(), Value::from(kv.value.to_string()))).collect();
    let micros = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    };
    json!({
        "trace": span.span_context.trace_id().to_string(),
        "span": span.span_context.span_id().to_string(),
        "parent": span.parent_span_id.to_string(),
        "name": span.name,
        "start_us": micros(span.start_time),
        "end_us": micros(span.end_time),
        "links": span.links.iter().map(|link| link.span_context.trace_id().to_string()).collect::<Vec<_>>(),
        "error": match &span.status {
            opentelemetry::trace::Status::Error { description } => Some(description.to_string()),
            _ => None,
        },
        "attributes": attributes,
    })
}

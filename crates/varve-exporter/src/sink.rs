//! Spans on their way out.

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind as OtelKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor,
};
use std::time::Duration;
use varve_telemetry::{SpanKind, SpanRecord, SpanSink, TraceContext};

/// Spans that wait to be sent; more are dropped.
const SPANS_WAITING_MAX: usize = 8192;
/// Spans that are sent at once.
const SPANS_SENT_MAX: usize = 1024;
/// How long a span waits for others to be sent with.
const SEND_INTERVAL: Duration = Duration::from_secs(1);

/// Gathers spans, and sends them from a thread of its own.
#[derive(Debug)]
pub(crate) struct BatchSink {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl BatchSink {
    pub(crate) fn new(exporter: impl SpanExporter + 'static, resource: &Resource) -> Self {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_WAITING_MAX)
            .with_max_export_batch_size(SPANS_SENT_MAX)
            .with_scheduled_delay(SEND_INTERVAL)
            .build();
        let mut processor = BatchSpanProcessor::new(exporter, config);
        processor.set_resource(resource);
        Self { processor, scope: InstrumentationScope::builder("varve").build() }
    }

    pub(crate) fn shutdown(&self, timeout: Duration) {
        if let Err(error) = self.processor.shutdown_with_timeout(timeout) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

impl SpanSink for BatchSink {
    fn take(&self, span: SpanRecord) {
        let mut links = SpanLinks::default();
        links.links = span.links.iter().map(|link| Link::with_context(context(*link, true))).collect();
        self.processor.on_end(SpanData {
            span_context: context(span.context, false),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id())),
            parent_span_is_remote: span.kind == SpanKind::Server && span.parent.is_some(),
            span_kind: match span.kind {
                SpanKind::Client => OtelKind::Client,
                SpanKind::Server => OtelKind::Server,
                SpanKind::Producer => OtelKind::Producer,
                SpanKind::Consumer => OtelKind::Consumer,
                SpanKind::Internal => OtelKind::Internal,
            },
            name: span.name,
            start_time: span.start,
            end_time: span.end,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

fn context(place: TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from(place.trace_id()),
        SpanId::from(place.span_id()),
        TraceFlags::SAMPLED,
        is_remote,
        TraceState::default(),
    )
}

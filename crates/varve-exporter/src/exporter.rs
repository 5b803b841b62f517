//! All of it together.

use crate::collector::Collector;
use crate::exposition::PrometheusText;
use crate::file::TraceFile;
use crate::sink::BatchSink;
use crate::{ExportError, ExportSettings};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::sync::Arc;
use std::time::Duration;
use varve_telemetry::{SpanSink, Spans, Telemetry};

/// How long what is still to be sent may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What carries telemetry away. Dropped without [`Exporter::shutdown`] the last of it is lost.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkMeterProvider,
    sinks: Vec<Arc<BatchSink>>,
}

impl Exporter {
    /// Starts, and gives the handle for those who have something to tell. Must be called within a Tokio runtime. A collector
    /// that is not there is no error: what cannot be sent is dropped, and said once in a while.
    ///
    /// # Errors
    /// Where a setting is wrong, or a file cannot be made.
    pub fn start(settings: &ExportSettings) -> Result<(Self, Telemetry), ExportError> {
        let resource = Resource::builder()
            .with_service_name(settings.service)
            .with_attribute(KeyValue::new("service.instance.id", settings.instance.clone()))
            .with_attribute(KeyValue::new("service.version", settings.version))
            .build();
        let registry = prometheus::Registry::new();
        let text =
            opentelemetry_prometheus::exporter().scope_info_enabled(false).with_registry(registry.clone());
        let text = text.build().map_err(|error| ExportError::Setup(error.to_string()))?;
        let mut provider = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(text);
        let mut sinks = Vec::new();
        if let Some(otlp) = &settings.otlp {
            let collector = Collector::new(otlp)?;
            provider = provider.with_reader(collector.metrics()?);
            sinks.push(Arc::new(BatchSink::new(collector.spans()?, &resource)));
        }
        if let Some(path) = &settings.trace_file {
            sinks.push(Arc::new(BatchSink::new(TraceFile::create(path)?, &resource)));
        }
        let provider = provider.build();
        let meter = provider.meter("varve");
        let spans = match sinks.as_slice() {
            [] => Spans::off(),
            [one] => Spans::new(Arc::clone(one) as Arc<dyn SpanSink>, settings.trace_ratio),
            more => Spans::new(Arc::new(All(more.to_vec())), settings.trace_ratio),
        };
        let telemetry = Telemetry::new(meter, spans, Arc::new(PrometheusText::new(registry)));
        Ok((Self { provider, sinks }, telemetry))
    }

    /// Sends what is still to be sent, for a few seconds at most. Blocks.
    pub fn shutdown(self) {
        for sink in &self.sinks {
            sink.shutdown(FLUSH_TIMEOUT);
        }
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "the last metrics were not sent");
        }
    }
}

/// Several places that spans go to.
#[derive(Debug)]
struct All(Vec<Arc<BatchSink>>);

impl SpanSink for All {
    fn take(&self, span: varve_telemetry::SpanRecord) {
        self.0.iter().for_each(|sink| sink.take(span.clone()));
    }
}

//! A collector.

use crate::text::settings;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use varve_exporter::{ExportError, ExportSettings, Exporter, OtlpSettings};
use varve_telemetry::{SpanKind, catalogue};

/// How long anything may take to arrive.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Spans(mpsc::UnboundedSender<trace::ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(Default::default()))
    }
}

#[derive(Debug)]
struct Metrics(mpsc::UnboundedSender<metrics::ExportMetricsServiceRequest>);

#[tonic::async_trait]
impl MetricsService for Metrics {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(Default::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_spans_reach_a_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (spans, mut spans_seen) = mpsc::unbounded_channel();
    let (points, mut points_seen) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Spans(spans)))
        .add_service(MetricsServiceServer::new(Metrics(points)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let otlp = OtlpSettings { endpoint, ca_file: None, interval: Duration::from_millis(50) };
    let settings = ExportSettings { otlp: Some(otlp), ..settings() };
    let (exporter, telemetry) = Exporter::start(&settings).unwrap();
    telemetry.histogram(&catalogue::FSYNC_DURATION).record(0.002, &[]);
    drop(telemetry.spans.begin("work", SpanKind::Server, None));
    let seen = tokio::time::timeout(DEADLINE, spans_seen.recv()).await.unwrap().unwrap();
    let resource = &seen.resource_spans[0];
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.trace_id.len()), ("work", 16));
    assert!(resource.resource.as_ref().unwrap().attributes.iter().any(|kv| kv.key == "service.instance.id"));
    let fsync = async {
        loop {
            let seen = points_seen.recv().await.unwrap();
            let all = seen.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
            if let Some(metric) = all.into_iter().find(|metric| metric.name == "varve.storage.fsync.duration")
            {
                return metric;
            }
        }
    };
    assert_eq!(tokio::time::timeout(DEADLINE, fsync).await.unwrap().unit, "s");
    tokio::task::spawn_blocking(|| exporter.shutdown()).await.unwrap();
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    let refuse = |endpoint: &str| {
        let otlp =
            OtlpSettings { endpoint: endpoint.to_owned(), ca_file: None, interval: Duration::from_secs(1) };
        Exporter::start(&ExportSettings { otlp: Some(otlp), ..settings() }).unwrap_err()
    };
    for endpoint in ["", "collector:4317", "ftp://collector:4317", "http://", "http://a b"] {
        assert!(matches!(refuse(endpoint), ExportError::Endpoint { .. }), "{endpoint}");
    }
    assert!(matches!(refuse("https://collector:4317"), ExportError::NoAuthority { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_nothing() {
    let otlp = OtlpSettings {
        endpoint: "http://127.0.0.1:1".to_owned(),
        ca_file: None,
        interval: Duration::from_millis(10),
    };
    let settings = ExportSettings { otlp: Some(otlp), ..settings() };
    let (exporter, telemetry) = Exporter::start(&settings).unwrap();
    for _ in 0..20_000 {
        drop(telemetry.spans.begin("work", SpanKind::Server, None));
    }
    tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(|| exporter.shutdown()))
        .await
        .unwrap()
        .unwrap();
}

//! What a cluster tells of itself, as those see it who watch it: a collector, and a scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::support::{DEADLINE, Process, run, run_with_input, varve, wait_until};

/// A span, as the collector has it.
#[derive(Clone, Debug)]
struct Span {
    instance: String,
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    linked: Vec<Vec<u8>>,
    is_of_follower: bool,
}

/// A collector of this process.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<BTreeSet<String>>>,
}

impl Collector {
    /// Starts it, and gives its address.
    fn start(&self, runtime: &tokio::runtime::Runtime) -> String {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        endpoint
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let resource = of_resource.resource.unwrap_or_default().attributes;
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.spans.lock().unwrap().push(Span {
                    instance: text(&resource, "service.instance.id"),
                    service: text(&resource, "service.name"),
                    name: span.name,
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    linked: span.links.into_iter().map(|link| link.trace_id).collect(),
                    is_of_follower: text(&span.attributes, "varve.role") == "follower",
                });
            }
        }
        Ok(Response::new(trace::ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        let of_resources = request.into_inner().resource_metrics.into_iter();
        let scopes = of_resources.flat_map(|of_resource| of_resource.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.metrics.lock().unwrap().extend(names);
        Ok(Response::new(metrics::ExportMetricsServiceResponse::default()))
    }
}

/// A secured cluster of three processes, and commands that find it.
struct Dev {
    process: Process,
    dir: tempfile::TempDir,
    /// Where each node serves its metrics.
    ops_addrs: Vec<String>,
}

impl Dev {
    fn start(endpoint: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = varve(&["dev", "--port", "0", "--data-dir"]);
        command.arg(dir.path().join("dev")).args([
            "--",
            "--otlp-endpoint",
            endpoint,
            "--otlp-interval",
            "1s",
        ]);
        command.env("XDG_CONFIG_HOME", dir.path()).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let lines = process.stdout();
        let until = Instant::now() + DEADLINE;
        while !lines.recv_timeout(until - Instant::now()).unwrap().starts_with(b"Ctrl-C stops") {}
        let plan = std::fs::read_to_string(dir.path().join("dev/dev.json")).unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let nodes = plan["nodes"].as_array().unwrap();
        let ops_addrs = nodes.iter().map(|node| format!("127.0.0.1:{}", node["ops"])).collect();
        Self { process, dir, ops_addrs }
    }

    fn varve(&self, args: &[&str]) -> Command {
        let mut command = varve(args);
        command.env("XDG_CONFIG_HOME", self.dir.path());
        command
    }

    /// What is read at a path of a node's operations listener: the status, and the body.
    fn get(&self, node: usize, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.ops_addrs[node]).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: varve\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // So that it stops its nodes.
        self.process.signal("INT");
        self.process.wait();
    }
}

#[test]
fn one_produce_is_one_trace_from_the_client_to_the_followers_disk() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    let endpoint = collector.start(&runtime);
    let dev = Dev::start(&endpoint);
    run(&mut dev.varve(&["topic", "create", "events", "--replication-factor", "3"])).ok();
    // All three have to be there: a follower that comes later is sent what is committed, which is in no trace any more.
    run(&mut dev.varve(&["cluster", "health", "--wait"])).ok();
    let mut produce = dev.varve(&["produce", "events"]);
    run_with_input(produce.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), b"traced\n").ok();

    let produced = || collector.spans().into_iter().find(|span| span.name == "produce");
    wait_until("the client's span", || produced().is_some());
    let produced = produced().unwrap();
    assert_eq!(produced.service, "varve-cli");
    let of_trace = || {
        let spans = collector.spans().into_iter();
        spans.filter(|span| span.trace == produced.trace && span.id != produced.id).collect::<Vec<_>>()
    };
    let stages = |is_of_follower: bool| {
        let spans = of_trace().into_iter().filter(|span| span.is_of_follower == is_of_follower);
        let mut by_node: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for span in spans {
            by_node.entry(span.instance).or_default().insert(span.name);
        }
        by_node
    };
    let all = ["append", "apply", "fsync", "queue", "replicate"];
    wait_until("the leader's stages", || {
        stages(false).values().any(|names| all.iter().all(|stage| names.contains(*stage)))
    });
    wait_until("both followers' disks", || {
        stages(true).values().filter(|names| names.contains("fsync")).count() == 2
    });
    let leaders: Vec<String> = stages(false).into_keys().collect();
    assert_eq!(leaders.len(), 1, "one leads: {leaders:?}");
    assert!(!stages(true).contains_key(&leaders[0]));
    for span in of_trace() {
        assert_eq!((&span.parent, span.service.as_str()), (&produced.id, "varve"), "{span:?}");
    }

    // Every other call is within a span of the client, and the server's is part of that.
    let is_answered = |asked: &Span| {
        asked.service == "varve-cli"
            && asked.name.starts_with("varve.v1.ClusterService/")
            && collector.spans().iter().any(|span| {
                (span.service.as_str(), &span.name, &span.parent, &span.trace)
                    == ("varve", &asked.name, &asked.id, &asked.trace)
            })
    };
    wait_until("a call in one trace", || collector.spans().iter().any(is_answered));

    let mut consume = dev.varve(&["consume", "events", "--from", "start", "-n", "1"]);
    assert_eq!(run(consume.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)).ok().text(), "traced\n");
    let is_linked = |span: &Span| span.name == "consume" && span.linked.contains(&produced.trace);
    wait_until("the consumer's span", || collector.spans().iter().any(is_linked));
    wait_until("metrics", || collector.metrics.lock().unwrap().contains("varve.commit.stage.duration"));
}

/// What is there only while something is wrong, or behind, or filling up.
const AT_TIMES: [&str; 5] = [
    "varve.disk.time_to_full",
    "varve.replica.lag",
    "varve.replica.lag.duration",
    "varve.stream.lag",
    "varve.stream.lag.duration",
];

#[test]
fn a_scrape_has_every_metric_of_the_reference_and_no_other() {
    let dev = Dev::start("http://127.0.0.1:1");
    run_with_input(&mut dev.varve(&["produce", "events"]), b"a\nb\n").ok();
    run(&mut dev.varve(&["consume", "events", "--from", "start", "-n", "1"])).ok();
    // An error, a decision and a denial.
    run(&mut dev.varve(&["topic", "describe", "nothing"])).fails(5, "nothing");
    let reference: BTreeSet<String> =
        varve_telemetry::catalogue::ALL.iter().flat_map(|metric| metric.prometheus_series()).collect();
    let at_times: BTreeSet<String> = varve_telemetry::catalogue::ALL
        .iter()
        .filter(|metric| AT_TIMES.contains(&metric.name))
        .flat_map(|metric| metric.prometheus_series())
        .collect();
    // Of all nodes together: one leads, and another is asked.
    let series = || {
        let mut series = BTreeSet::new();
        for node in 0..3 {
            let (status, body) = dev.get(node, "/metrics");
            assert_eq!(status, "200");
            let names = body.lines().filter(|line| !line.starts_with('#'));
            series.extend(names.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()));
        }
        series
    };
    let missing = || {
        let there = series();
        let missing = reference.difference(&at_times).filter(|name| !there.contains(*name));
        let missing: Vec<String> = missing.cloned().collect();
        eprintln!("missing: {missing:?}");
        missing
    };
    wait_until("every metric", || missing().is_empty());
    let unknown: Vec<String> =
        series().into_iter().filter(|name| !reference.contains(name) && name != "target_info").collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    for probe in ["/livez", "/readyz", "/startupz"] {
        let (status, body) = dev.get(0, probe);
        assert_eq!((status.as_str(), body.ends_with("\nok\n")), ("200", true), "{probe}: {body}");
    }
    assert_eq!(dev.get(0, "/nothing").0, "404");
}

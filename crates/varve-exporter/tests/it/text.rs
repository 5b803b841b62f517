//! Prometheus' text.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use varve_exporter::{ExportSettings, Exporter};
use varve_telemetry::{KeyValue, Kind, Telemetry, catalogue};

pub(crate) fn settings() -> ExportSettings {
    ExportSettings {
        service: "varve",
        instance: "node-1".to_owned(),
        version: "1.2.3",
        otlp: None,
        trace_ratio: 1.0,
        trace_file: None,
    }
}

fn text(telemetry: &Telemetry) -> String {
    telemetry.exposition().unwrap().text().unwrap()
}

#[tokio::test]
async fn each_metric_of_the_catalogue_has_the_names_that_the_reference_says() {
    let (_exporter, telemetry) = Exporter::start(&settings()).unwrap();
    for metric in catalogue::ALL {
        let labels: Vec<KeyValue> =
            metric.labels.iter().map(|label| KeyValue::new(label.name, "x")).collect();
        match metric.kind {
            Kind::Histogram(_) => telemetry.histogram(metric).record(0.001, &labels),
            _ => telemetry.observe(metric, move |tell| tell(1.0, &labels)),
        }
    }
    let text = text(&telemetry);
    for metric in catalogue::ALL {
        for series in metric.prometheus_series() {
            let begins = |line: &str| {
                line.strip_prefix(series.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(text.lines().any(begins), "{series} is missing:\n{text}");
        }
    }
    assert!(
        text.contains(
            "target_info{service_instance_id=\"node-1\",service_name=\"varve\",service_version=\"1.2.3\""
        ),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_told_of_no_more_is_gone_from_the_live_ones() {
    let (_exporter, telemetry) = Exporter::start(&settings()).unwrap();
    let there = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&there);
    telemetry.observe(&catalogue::STREAM_LAG, move |tell| {
        if seen.load(Ordering::Relaxed) {
            tell(7.0, &[KeyValue::new("topic", "t")]);
        }
    });
    assert!(text(&telemetry).contains("varve_stream_lag{topic=\"t\"} 7"));
    there.store(false, Ordering::Relaxed);
    assert!(!text(&telemetry).contains("varve_stream_lag{"));
}

#[tokio::test]
async fn counters_that_are_counted_elsewhere_are_read_as_they_are() {
    let (_exporter, telemetry) = Exporter::start(&settings()).unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&count);
    telemetry
        .observe(&catalogue::PRODUCED_RECORDS, move |tell| tell(told.load(Ordering::Relaxed) as f64, &[]));
    for value in [3, 3, 1_000_000_007] {
        count.store(value, Ordering::Relaxed);
        let text = text(&telemetry);
        assert!(text.contains(&format!("varve_produce_records_total {value}\n")), "{text}");
    }
}

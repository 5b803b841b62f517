//! Spans in a file.

use crate::text::settings;
use varve_exporter::{ExportSettings, Exporter};
use varve_telemetry::SpanKind;

#[tokio::test(flavor = "multi_thread")]
async fn each_span_is_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("traces.jsonl");
    let settings = ExportSettings { trace_file: Some(path.clone()), ..settings() };
    let (exporter, telemetry) = Exporter::start(&settings).unwrap();
    let mut outer = telemetry.spans.begin("outer", SpanKind::Server, None);
    let inner = telemetry.spans.begin("inner", SpanKind::Internal, outer.context());
    drop(inner);
    outer.fail(|| "it broke".to_owned());
    drop(outer);
    exporter.shutdown();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [inner, outer] = lines.as_slice() else { panic!("two lines: {text}") };
    assert_eq!((&inner["trace"], &inner["parent"]), (&outer["trace"], &outer["span"]));
    assert_eq!((&outer["name"], &outer["error"]), (&"outer".into(), &"it broke".into()));
}

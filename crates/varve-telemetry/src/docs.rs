//! `docs/metrics.md`, from the catalogue.

use crate::catalogue::ALL;
use crate::metric::{Kind, Metric};
use std::fmt::Write;

const HEAD: &str = "\
# Metrics

Every metric that a server has, written from the table in `crates/varve-telemetry/src/catalogue.rs`; a test holds the two
together (`VARVE_UPDATE=1 cargo test -p varve-telemetry` writes this file). They are read as Prometheus' text at `/metrics`,
and pushed by OTLP where `otlp-endpoint` is set. OpenTelemetry's name stands first, then Prometheus'.

Labels are bounded: methods, stages and reasons are fixed sets; series by topic exist for at most `metrics-topics-max` topics
(100; 0 turns them off), and series by partition, follower or stream for the 100 that are furthest behind.

In OTLP every series has the resource of its node: `service.name` (`varve`), `service.instance.id` (the node's name) and
`service.version`. In Prometheus' text that is the one series `target_info`.

| metric | in Prometheus | kind | labels | what it is |
|---|---|---|---|---|
";

/// The reference, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    ALL.iter().for_each(|metric| row(&mut text, metric));
    text.push_str("\n## Labels\n\n| label | in Prometheus | values |\n|---|---|---|\n");
    let mut labels: Vec<_> = ALL.iter().flat_map(|metric| metric.labels).collect();
    labels.sort_by_key(|label| (label.name, label.values));
    labels.dedup();
    for label in labels {
        writeln!(text, "| `{}` | `{}` | {} |", label.name, label.name.replace('.', "_"), label.values)
            .expect("a String takes everything");
    }
    text
}

fn row(text: &mut String, metric: &Metric) {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Histogram(_) => "histogram",
        Kind::Gauge | Kind::Live => "gauge",
    };
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.name)).collect();
    let description = metric.description.trim();
    writeln!(
        text,
        "| `{}` | `{}` | {kind} | {} | {description} |",
        metric.name,
        metric.prometheus_name(),
        labels.join(", ")
    )
    .expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_is_what_the_catalogue_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let reference = super::reference();
        if std::env::var_os("VARVE_UPDATE").is_some() {
            std::fs::write(path, &reference).expect("docs/metrics.md is written");
        }
        let written = std::fs::read_to_string(path).expect("docs/metrics.md is there");
        assert_eq!(written, reference, "run VARVE_UPDATE=1 cargo test -p varve-telemetry");
    }
}

//! Which series there are, and with which labels; and what is wrong with an expression that goes by others.

use crate::promql::{Names, names};
use std::collections::{BTreeMap, BTreeSet};
use varve_telemetry::catalogue::ALL;

/// Labels that Prometheus gives to whatever it reads, and those that say which cluster it is.
const TARGET_LABELS: [&str; 5] = ["job", "instance", "cluster", "namespace", "pod"];

/// Series by name, with their labels.
#[derive(Debug)]
pub(crate) struct Known(BTreeMap<String, BTreeSet<String>>);

impl Known {
    /// Those of the catalogue, and the one that Prometheus makes for each target.
    pub(crate) fn exported() -> Self {
        let mut known = BTreeMap::from([("up".to_owned(), target_labels())]);
        for metric in ALL {
            for series in metric.prometheus_series() {
                let mut labels = target_labels();
                labels.extend(metric.labels.iter().map(|label| label.name.replace('.', "_")));
                if series.ends_with("_bucket") {
                    labels.insert("le".to_owned());
                }
                known.insert(series, labels);
            }
        }
        Self(known)
    }

    /// Takes in what a recording rule makes.
    pub(crate) fn record(&mut self, series: &str, expr: &str) {
        let labels = self.left_of(&names(expr).unwrap());
        self.0.insert(series.to_owned(), labels);
    }

    /// What an expression names that there is not.
    pub(crate) fn unknown_in(&self, expr: &str) -> Vec<String> {
        let names = match names(expr) {
            Ok(names) => names,
            Err(problem) => return vec![format!("{problem}: {expr}")],
        };
        let mut problems = Vec::new();
        for (metric, labels) in &names.metrics {
            match self.0.get(metric) {
                None => problems.push(format!("there is no metric {metric}")),
                Some(has) => problems.extend(missing(labels, has, metric)),
            }
        }
        let all = self.labels_of(&names);
        problems.extend(missing(&names.by, &all, expr));
        problems.extend(missing(&names.matched, &all, expr));
        problems
    }

    /// Labels that are shown of an expression's series, and that these do not have (any more).
    pub(crate) fn not_shown(&self, expr: &str, labels: &[String]) -> Vec<String> {
        match names(expr) {
            Ok(names) => missing(labels, &self.left_of(&names), expr).collect(),
            Err(problem) => vec![problem],
        }
    }

    /// The labels of the series that come out.
    fn left_of(&self, names: &Names) -> BTreeSet<String> {
        if names.by.is_empty() { self.labels_of(names) } else { names.by.iter().cloned().collect() }
    }

    fn labels_of(&self, names: &Names) -> BTreeSet<String> {
        names.metrics.iter().filter_map(|(metric, _)| self.0.get(metric)).flatten().cloned().collect()
    }
}

fn missing(labels: &[String], has: &BTreeSet<String>, whose: &str) -> impl Iterator<Item = String> + use<> {
    let missing: Vec<_> = labels.iter().filter(|label| !has.contains(*label)).cloned().collect();
    let whose = whose.to_owned();
    missing.into_iter().map(move |label| format!("there is no label {label} of {whose}"))
}

fn target_labels() -> BTreeSet<String> {
    TARGET_LABELS.map(str::to_owned).into()
}

/// The labels that a text shows between `{{` and `}}`; in alerts they are called `$labels.NAME` there.
pub(crate) fn shown(text: &str) -> Vec<String> {
    text.split("{{")
        .skip(1)
        .filter_map(|part| part.split_once("}}"))
        .filter_map(|(inside, _)| {
            let first = inside.split('|').next()?.trim();
            let label = first.strip_prefix("$labels.").unwrap_or(first);
            (!label.starts_with('$')).then(|| label.to_owned())
        })
        .collect()
}

#[test]
fn what_there_is_not_is_found() {
    let mut known = Known::exported();
    let fine = r#"sum by (instance, le) (rate(varve_commit_duration_seconds_bucket{job="varve"}[5m])) > 0"#;
    assert_eq!(known.unknown_in(fine), Vec::<String>::new());
    // The metric's own name is none of its series.
    assert_eq!(known.unknown_in("varve_commit_duration_seconds").len(), 1);
    assert_eq!(known.unknown_in("rate(varve_produce_recrods_total[5m])").len(), 1);
    assert_eq!(known.unknown_in(r#"varve_health{state="x"}"#).len(), 1);
    assert_eq!(known.unknown_in("sum by (topic) (varve_health)").len(), 1);
    assert_eq!(known.unknown_in("sum by (le) (varve_commit_duration_seconds_count)").len(), 1);
    assert_eq!(known.unknown_in("varve_health / on (peer) varve_disk_full").len(), 1);
    assert_eq!(known.unknown_in("cluster:varve_health:min").len(), 1);
    known.record("cluster:varve_health:min", "min by (cluster, check) (varve_health)");
    assert_eq!(known.unknown_in(r#"cluster:varve_health:min{check="disk"}"#), Vec::<String>::new());
    assert_eq!(known.unknown_in(r#"cluster:varve_health:min{instance="a"}"#).len(), 1);
}

#[test]
fn a_label_that_was_summed_away_is_not_shown() {
    let known = Known::exported();
    let labels = shown("{{instance}} and {{ $labels.check }}: {{ $value | humanize }}");
    assert_eq!(labels, ["instance", "check"]);
    assert_eq!(known.not_shown("varve_health", &labels), Vec::<String>::new());
    assert_eq!(known.not_shown("min by (instance) (varve_health)", &labels).len(), 1);
}

//! `deploy/prometheus`, and the alerts in `docs/operations.md`.

use crate::files::read;
use crate::known::{Known, shown};
use crate::yaml::Yaml;
use std::collections::BTreeSet;

const RULES: &str = "deploy/prometheus/varve.rules.yaml";
const CASES: &str = "deploy/prometheus/varve.rules.test.yaml";
const RUNBOOK: &str = "docs/operations.md";

/// All that there is where the recording rules are loaded.
pub(crate) fn recorded() -> Known {
    let file = Yaml::parse(&read(RULES));
    let mut known = Known::exported();
    for rule in all_rules(&file).filter(|rule| !rule.text("record").is_empty()) {
        known.record(rule.text("record"), rule.text("expr"));
    }
    known
}

fn all_rules(file: &Yaml) -> impl Iterator<Item = &Yaml> {
    file.items("groups").iter().flat_map(|group| group.items("rules"))
}

fn alerts(file: &Yaml) -> impl Iterator<Item = &Yaml> {
    all_rules(file).filter(|rule| !rule.text("alert").is_empty())
}

#[test]
fn rules_go_by_metrics_that_there_are() {
    let (file, known) = (Yaml::parse(&read(RULES)), recorded());
    let expressions: Vec<_> = all_rules(&file).map(|rule| rule.text("expr")).collect();
    assert!(expressions.len() > 40, "only {} rules were found", expressions.len());
    let problems: Vec<_> = expressions.iter().flat_map(|expr| known.unknown_in(expr)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn alerts_say_how_bad_it_is_and_what_to_do() {
    let (file, known) = (Yaml::parse(&read(RULES)), recorded());
    for alert in alerts(&file) {
        let name = alert.text("alert");
        let severity = alert.get("labels").map_or("", |labels| labels.text("severity"));
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: severity {severity:?}");
        let annotations = alert.get("annotations").unwrap();
        for annotation in ["summary", "description"] {
            let text = annotations.text(annotation);
            assert!(text.ends_with('.'), "{name}: the {annotation} is no sentence: {text:?}");
            let problems = known.not_shown(alert.text("expr"), &shown(text));
            assert!(problems.is_empty(), "{name}: {problems:#?}");
        }
        assert_eq!(annotations.text("runbook_url"), format!("{RUNBOOK}#{}", name.to_lowercase()));
    }
}

#[test]
fn each_alert_has_its_heading_and_each_heading_its_alert() {
    let (file, runbook) = (Yaml::parse(&read(RULES)), read(RUNBOOK));
    let alerts: BTreeSet<_> = alerts(&file).map(|alert| alert.text("alert")).collect();
    let headings: BTreeSet<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|name| name.starts_with("Varve"))
        .collect();
    assert_eq!(alerts, headings);
}

#[test]
fn each_alert_has_cases_in_which_it_fires_and_in_which_it_does_not() {
    let (rules, cases) = (Yaml::parse(&read(RULES)), Yaml::parse(&read(CASES)));
    let tests = cases.items("tests");
    for alert in alerts(&rules) {
        let name = alert.text("alert");
        let severity = alert.get("labels").unwrap().text("severity");
        let quiet = tests.iter().flat_map(|test| test.items("alert_rule_test")).any(|case| {
            let expected = case.get("exp_alerts");
            case.text("alertname") == name && matches!(expected, Some(Yaml::List(none)) if none.is_empty())
        });
        assert!(quiet, "{name}: there is no case in which it does not fire");
        let [name, severity] = [format!("alertname=\"{name}\""), format!("severity=\"{severity}\"")];
        let samples = tests
            .iter()
            .flat_map(|test| test.items("promql_expr_test"))
            .flat_map(|case| case.items("exp_samples"));
        let fires = samples.map(|sample| sample.text("labels")).any(|labels| {
            [name.as_str(), severity.as_str(), "alertstate=\"firing\""]
                .iter()
                .all(|part| labels.contains(part))
        });
        assert!(fires, "{name}: there is no case in which it fires");
    }
}

/// A case about a metric that there is not proves nothing.
#[test]
fn cases_are_about_metrics_that_there_are() {
    let (cases, known) = (Yaml::parse(&read(CASES)), Known::exported());
    let series = cases.items("tests").iter().flat_map(|test| test.items("input_series"));
    let problems: Vec<_> = series.flat_map(|series| known.unknown_in(series.text("series"))).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

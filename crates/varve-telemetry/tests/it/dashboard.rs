//! `deploy/grafana`.

use crate::files::read;
use crate::known::{Known, shown};
use serde_json::Value;
use std::collections::BTreeSet;

const DASHBOARD: &str = "deploy/grafana/varve.json";
const DATASOURCE: &str = "${datasource}";

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or("")
}

/// Panels that show something: rows are headings.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| text(panel, "type") != "row")
}

/// The recording rules are not asked for: the dashboard works without them.
#[test]
fn panels_go_by_metrics_that_there_are() {
    let (dashboard, known) = (dashboard(), Known::exported());
    let targets: Vec<_> = panels(&dashboard).flat_map(|panel| list(panel, "targets")).collect();
    assert!(targets.len() > 50, "only {} expressions were found", targets.len());
    for target in targets {
        let expr = text(target, "expr");
        let mut problems = known.unknown_in(expr);
        problems.extend(known.not_shown(expr, &shown(text(target, "legendFormat"))));
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[test]
fn variables_go_by_labels_that_there_are() {
    let (dashboard, known) = (dashboard(), Known::exported());
    let queries =
        list(&dashboard["templating"], "list").iter().filter(|variable| variable["type"] == "query");
    let mut names = BTreeSet::new();
    for variable in queries {
        let query =
            text(variable, "definition").strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (selector, label) = query.rsplit_once(", ").unwrap();
        let mut problems = known.unknown_in(selector);
        problems.extend(known.not_shown(selector, &[label.to_owned()]));
        assert!(problems.is_empty(), "{problems:#?}");
        names.insert(text(variable, "name"));
    }
    assert_eq!(names, BTreeSet::from(["cluster", "instance", "job", "topic"]));
}

#[test]
fn panels_say_what_good_looks_like_and_in_which_unit() {
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(
            text(panel, "description").contains("Good: "),
            "{title}: it does not say what good looks like"
        );
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}: it has no unit");
        assert!(!list(panel, "targets").is_empty(), "{title}: it shows nothing");
        for of in list(panel, "targets").iter().chain([panel]) {
            assert_eq!(text(&of["datasource"], "uid"), DATASOURCE, "{title}");
        }
    }
}

#[test]
fn no_two_panels_lie_on_each_other_or_have_one_number() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: another panel has its number");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}: it is too wide");
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            assert!(taken.insert((place("x") + x, place("y") + y)), "{title}: it lies on another panel");
        }
    }
}

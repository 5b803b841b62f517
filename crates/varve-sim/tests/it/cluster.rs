//! Whole clusters, each seed in a process of its own, as the binary runs them.

use std::process::{Command, Output};
use varve_sim::cluster::{Report, Totals};

/// Seeds that are run here, the last of them secured; CI runs more of them (`.ci/run`).
const SEEDS: u64 = 3;
/// One of so many seeds without syncs must break a promise.
const SEEDS_WITHOUT_SYNC: u64 = 3;

fn simulate(seed: u64, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_varve-sim"));
    command.args(["--seed", &seed.to_string()]).args(more);
    // What openraft says of moments it says by the clock on the wall.
    command.env("RUST_LOG", "debug,openraft=warn").output().unwrap()
}

fn report(seed: u64, more: &[&str]) -> Report {
    let output = simulate(seed, &[&["--json"], more].concat());
    let printed = String::from_utf8(output.stdout).unwrap();
    let last = printed.lines().last().map(serde_json::from_str::<Report>);
    let said = String::from_utf8_lossy(&output.stderr);
    let report = last.unwrap_or_else(|| panic!("seed {seed} ended with {}: {said}", output.status)).unwrap();
    assert_eq!(output.status.success(), report.is_ok(), "the exit code says what the report says");
    report
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let one = trace_of_twice(7);
    let another = simulate(8, &["--trace", "--trouble-ms", "2500"]);
    assert_ne!(one.stdout, another.stdout, "another seed is another run");
}

/// Keys and what is encrypted differ from run to run, and must not show.
#[test]
fn the_same_seed_of_a_secured_cluster_gives_the_same_trace() {
    let said = trace_of_twice(9).stdout;
    assert!(String::from_utf8_lossy(&said).starts_with("seed 9: TLS, "), "{said:?}");
}

/// What a seed prints, which must be the same twice.
fn trace_of_twice(seed: u64) -> Output {
    let run = || simulate(seed, &["--trace", "--trouble-ms", "2500"]);
    let (one, other) = (run(), run());
    let lines = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    let (one_said, other_said) = (lines(&one), lines(&other));
    for (number, (one, other)) in one_said.lines().zip(other_said.lines()).enumerate() {
        assert_eq!(one, other, "line {number} of the trace differs");
    }
    assert!(one_said == other_said && one.stdout == other.stdout, "one trace ends before the other");
    assert!(one_said.lines().count() > 1_000, "a trace of a cluster is long");
    one
}

#[test]
fn every_promise_is_kept() {
    let mut totals = Totals::default();
    for seed in 1..=SEEDS {
        let report = report(seed, &[]);
        assert!(report.is_ok(), "{report:#?}");
        assert_eq!(report.is_secured, seed == SEEDS, "{report:#?}");
        totals.add(&report.totals);
    }
    assert!(totals.acknowledged > 500 * SEEDS, "{totals:?}");
    assert!(totals.reads > 300 * SEEDS, "{totals:?}");
    assert!(totals.crashes > 0 && totals.power_cuts > 0, "{totals:?}");
    assert!(totals.partitions + totals.holds > 0, "{totals:?}");
    assert!(totals.turned_away > 0, "{totals:?}");
}

#[test]
fn without_syncs_promises_are_broken() {
    let broken = (1..=SEEDS_WITHOUT_SYNC).find(|seed| !report(*seed, &["--no-sync"]).is_ok());
    assert!(broken.is_some(), "none of {SEEDS_WITHOUT_SYNC} seeds noticed that nothing was synced");
}

//! One node's partition, and power cuts.

use varve_sim::Sync;
use varve_sim::one_node::run;

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=3 {
        assert_eq!(run(seed, Sync::Honest), run(seed, Sync::Honest), "seed {seed}");
    }
}

#[test]
fn every_promise_is_kept() {
    let mut acknowledged = 0;
    for seed in 1..=15 {
        let report = run(seed, Sync::Honest);
        assert!(report.is_ok(), "{report:?}");
        acknowledged += report.acknowledged;
    }
    assert!(acknowledged > 2_000, "only {acknowledged} appends were acknowledged");
}

#[test]
fn without_syncs_promises_are_broken() {
    let broken = (1..=8).filter(|seed| !run(*seed, Sync::Ignored).is_ok()).count();
    assert!(broken >= 6, "only {broken} of 8 seeds noticed that nothing was synced");
}

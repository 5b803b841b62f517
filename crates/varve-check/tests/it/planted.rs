//! Anomalies planted into correct histories: each must be found, whatever the history.

use crate::generated::{Generated, generate};
use varve_check::{Event, Outcome, Request, Violation};

const SEEDS: u64 = 200;

/// Plants an anomaly into every history that has a place for it, and asks that the checker names it.
fn planted(plant: impl Fn(&mut Generated) -> Option<()>, named: impl Fn(&Violation) -> bool) {
    let mut tried = 0;
    for seed in 0..SEEDS {
        let mut generated = generate(seed);
        if plant(&mut generated).is_some() {
            tried += 1;
            let found = generated.violations();
            assert!(found.iter().any(&named), "seed {seed}: not among {found:?}");
        }
    }
    assert!(tried > SEEDS / 2, "only {tried} histories had a place for the anomaly");
}

/// The first completion that `pick` changes.
fn change(
    generated: &mut Generated,
    mut pick: impl FnMut(&mut Outcome, &mut u64) -> Option<()>,
) -> Option<()> {
    generated.events.iter_mut().find_map(|event| match event {
        Event::Complete { outcome, at_ns, .. } => pick(outcome, at_ns),
        Event::Invoke { .. } => None,
    })
}

#[test]
fn a_lost_append() {
    planted(
        |g| g.log.pop().map(|_| ()).filter(|()| last_was_acknowledged(g)),
        |v| matches!(v, Violation::Lost { .. }),
    );
}

fn last_was_acknowledged(generated: &Generated) -> bool {
    let lost = generated.log.len() as u64;
    generated.events.iter().any(
        |event| matches!(event, Event::Complete { outcome: Outcome::Appended { offset }, .. } if *offset == lost),
    )
}

#[test]
fn a_hole_in_the_middle() {
    let hole = |g: &mut Generated| (g.log.len() > 4).then(|| g.log.remove(2)).map(|_| ());
    planted(hole, |v| matches!(v, Violation::Lost { .. }));
}

#[test]
fn an_append_that_is_there_twice() {
    let double = |g: &mut Generated| {
        let first = *g.log.first()?;
        g.log.push(first);
        Some(())
    };
    planted(double, |v| matches!(v, Violation::Doubled { .. }));
}

#[test]
fn two_records_swapped() {
    let swap = |g: &mut Generated| (g.log.len() > 6).then(|| g.log.swap(1, 5));
    planted(swap, |v| matches!(v, Violation::Lost { .. } | Violation::Dirty { .. }));
}

#[test]
fn a_value_from_nowhere() {
    let appear = |g: &mut Generated| {
        g.log.push(9999);
        Some(())
    };
    planted(appear, |v| matches!(v, Violation::Phantom { value: 9999, .. }));
}

#[test]
fn a_refused_append_that_took_effect() {
    let abort = |g: &mut Generated| {
        let failed = g.events.iter().find_map(|event| match event {
            Event::Complete { op, outcome: Outcome::Failed, .. } => Some(*op),
            _ => None,
        })?;
        g.log.push(failed);
        Some(())
    };
    planted(abort, |v| matches!(v, Violation::Aborted { .. }));
}

#[test]
fn a_read_of_other_bytes() {
    let corrupt = |g: &mut Generated| {
        change(g, |outcome, _| match outcome {
            Outcome::Read { values, .. } => values.first_mut().map(|value| *value += 1000),
            _ => None,
        })
    };
    planted(corrupt, |v| matches!(v, Violation::Dirty { .. }));
}

#[test]
fn a_read_beyond_the_high_watermark() {
    let uncommitted = |g: &mut Generated| {
        change(g, |outcome, _| match outcome {
            Outcome::Read { first_offset, values, high_watermark } if !values.is_empty() => {
                *high_watermark = *first_offset;
                Some(())
            }
            _ => None,
        })
    };
    planted(uncommitted, |v| matches!(v, Violation::Uncommitted { .. }));
}

#[test]
fn a_session_that_skips() {
    let skip = |g: &mut Generated| {
        change(g, |outcome, _| match outcome {
            Outcome::Read { first_offset, values, .. } if values.len() > 1 && *first_offset > 0 => {
                values.remove(0);
                *first_offset += 1;
                Some(())
            }
            _ => None,
        })
    };
    planted(skip, |v| matches!(v, Violation::Broken { .. }));
}

#[test]
fn a_session_that_goes_back() {
    let back = |g: &mut Generated| {
        change(g, |outcome, _| match outcome {
            Outcome::Read { first_offset, values, .. } if !values.is_empty() && *first_offset > 0 => {
                *first_offset -= 1;
                Some(())
            }
            _ => None,
        })
    };
    planted(back, |v| matches!(v, Violation::Broken { .. } | Violation::Dirty { .. }));
}

#[test]
fn a_stale_linearizable_read() {
    let stale = |g: &mut Generated| {
        let last = g.events.len() as u64 * 100;
        let request = Request::Read { session: 99, linearizable: true };
        let outcome = Outcome::Read { first_offset: 0, values: vec![], high_watermark: 1 };
        g.events.push(Event::Invoke { op: 9000, at_ns: last + 10_000, request });
        g.events.push(Event::Complete { op: 9000, at_ns: last + 10_001, outcome });
        (g.log.len() > 2).then_some(())
    };
    planted(stale, |v| matches!(v, Violation::NotLinearizable { .. }));
}

#[test]
fn a_read_of_the_future() {
    let future = |g: &mut Generated| {
        let request = Request::Read { session: 99, linearizable: true };
        let high_watermark = g.log.len() as u64;
        let outcome = Outcome::Read { first_offset: 0, values: vec![], high_watermark };
        g.events.push(Event::Invoke { op: 9000, at_ns: 1, request });
        g.events.push(Event::Complete { op: 9000, at_ns: 2, outcome });
        (high_watermark > 0).then_some(())
    };
    planted(future, |v| matches!(v, Violation::NotLinearizable { .. }));
}

#[test]
fn two_acknowledgements_of_one_offset() {
    let same = |g: &mut Generated| {
        let mut first = None;
        change(g, |outcome, _| match (outcome, first) {
            (Outcome::Appended { offset }, None) => {
                first = Some(*offset);
                None
            }
            (Outcome::Appended { offset }, Some(first)) => {
                *offset = first;
                Some(())
            }
            _ => None,
        })
    };
    planted(same, |v| matches!(v, Violation::SameOffset { .. }));
}

#[test]
fn a_high_watermark_that_falls() {
    let fall = |g: &mut Generated| {
        let mut last = None;
        for event in g.events.iter_mut().rev() {
            let Event::Complete { op, outcome: Outcome::Read { high_watermark, .. }, .. } = event else {
                continue;
            };
            match last {
                None => last = Some((*op % 3, *high_watermark)),
                Some((session, later)) if *op % 3 == session => {
                    *high_watermark = later + 1;
                    return Some(());
                }
                Some(_) => {}
            }
        }
        None
    };
    planted(fall, |v| matches!(v, Violation::Fell { .. }));
}

#[test]
fn a_high_watermark_beyond_the_log() {
    let beyond = |g: &mut Generated| {
        let end = g.log.len() as u64;
        change(g, |outcome, _| match outcome {
            Outcome::Read { high_watermark, .. } => {
                *high_watermark = end + 1;
                Some(())
            }
            _ => None,
        })
    };
    planted(beyond, |v| matches!(v, Violation::Vanished { .. }));
}

//! Histories of a log that keeps its promises.

use varve_check::{Event, History, Outcome, Request, check};
use varve_env::{Entropy, SeededEntropy};
use varve_record::Offset;

/// A history that a correct log could have given, and that log.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) events: Vec<Event>,
    pub(crate) log: Vec<u64>,
}

impl Generated {
    pub(crate) fn history(&self) -> History {
        let mut history = History::default();
        for event in &self.events {
            history.record(event.clone()).unwrap();
        }
        history
    }

    pub(crate) fn violations(&self) -> Vec<varve_check::Violation> {
        check(&self.history(), Offset::new(0), &self.log)
    }
}

/// Operations take effect one after another, each at a moment inside its own interval; intervals of up to four overlap.
pub(crate) fn generate(seed: u64) -> Generated {
    let entropy = SeededEntropy::new(seed);
    let mut events = Vec::new();
    let mut log: Vec<u64> = Vec::new();
    let mut read_to = [0_usize; 3];
    for op in 0..60_u64 {
        // The effect is at `op * 100`; the interval reaches up to two effects to either side.
        let at = 1_000 + op * 100;
        let (invoked, completed) = (at - 1 - entropy.below(200), at + 1 + entropy.below(200));
        let (request, outcome) = match entropy.below(10) {
            0..=4 => {
                log.push(op);
                (Request::Append { value: op }, Outcome::Appended { offset: log.len() as u64 - 1 })
            }
            5 => {
                let took_effect = entropy.below(2) == 1;
                log.extend(took_effect.then_some(op));
                (Request::Append { value: op }, Outcome::Unknown)
            }
            6 => (Request::Append { value: op }, Outcome::Failed),
            _ => read(op, &log, &mut read_to, &entropy),
        };
        events.push(Event::Invoke { op, at_ns: invoked, request });
        events.push(Event::Complete { op, at_ns: completed, outcome });
    }
    Generated { events, log }
}

/// One of three sessions goes on by up to four records.
fn read(op: u64, log: &[u64], read_to: &mut [usize; 3], entropy: &SeededEntropy) -> (Request, Outcome) {
    let session = op % 3;
    let from = read_to[usize::try_from(session).unwrap()];
    let until = log.len().min(from + usize::try_from(entropy.below(5)).unwrap());
    read_to[usize::try_from(session).unwrap()] = until;
    let outcome = Outcome::Read {
        first_offset: from as u64,
        values: log[from..until].to_vec(),
        high_watermark: log.len() as u64,
    };
    (Request::Read { session, linearizable: true }, outcome)
}

#[test]
fn a_log_that_keeps_its_promises_is_not_accused() {
    for seed in 0..500 {
        assert_eq!(generate(seed).violations(), [], "seed {seed}");
    }
}

#[test]
fn what_was_trimmed_is_not_judged() {
    let generated = generate(1);
    let kept = &generated.log[5..];
    assert_eq!(check(&generated.history(), Offset::new(5), kept), []);
}

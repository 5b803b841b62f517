//! What happened: what clients asked and were told, by partition, and all that the simulation did, in one order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use varve_check::{Event, History, Outcome, Request, Violation, check};
use varve_client::record::Offset;

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: &'static str,
    pub(super) partition: u32,
}

/// An operation of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    place: Place,
    number: u64,
}

/// The journal of a run. Clones write into the same one.
///
/// Events are numbered in the order in which they happened in this one thread, and that number is their time: hosts whose clocks
/// differ by a step take part in one real order all the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    time: u64,
    operations: u64,
    sessions: u64,
    values: u64,
    histories: BTreeMap<Place, Vec<Event>>,
    digest: DefaultHasher,
    totals: Totals,
    complaints: Vec<String>,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
    pub(super) reads: u64,
    /// Times that a stranger was turned away.
    pub(super) turned_away: u64,
}

impl Journal {
    /// Writes down anything, for the digest and for whoever follows the trace.
    pub(super) fn note(&self, text: &str) {
        tracing::info!("{text}");
        text.hash(&mut self.0.borrow_mut().digest);
    }

    /// A value that no append had before.
    pub(super) fn value(&self) -> u64 {
        let mut state = self.0.borrow_mut();
        state.values += 1;
        state.values
    }

    /// A session that no reader had before.
    pub(super) fn session(&self) -> u64 {
        let mut state = self.0.borrow_mut();
        state.sessions += 1;
        state.sessions
    }

    /// An operation begins; to be called before anything is sent.
    pub(super) fn begin(&self, place: Place, request: Request) -> Op {
        let number = {
            let mut state = self.0.borrow_mut();
            state.operations += 1;
            state.operations
        };
        self.record(place, |at_ns| Event::Invoke { op: number, at_ns, request });
        Op { place, number }
    }

    /// An operation has ended; to be called after the answer has come.
    pub(super) fn end(&self, op: Op, outcome: Outcome) {
        self.0.borrow_mut().totals.count(&outcome);
        self.record(op.place, |at_ns| Event::Complete { op: op.number, at_ns, outcome });
    }

    /// A stranger was not let in, and told so.
    pub(super) fn turn_away(&self, text: &str) {
        self.note(text);
        self.0.borrow_mut().totals.turned_away += 1;
    }

    /// Something is wrong that no history shows.
    pub(super) fn complain(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(&format!("WRONG: {what}"));
        self.0.borrow_mut().complaints.push(what);
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.0.borrow().complaints.clone()
    }

    pub(super) fn totals(&self) -> Totals {
        self.0.borrow().totals
    }

    /// A digest of everything, in order: equal for equal runs.
    pub(super) fn digest(&self) -> u64 {
        self.0.borrow().digest.finish()
    }

    /// Holds what clients saw of a partition against the log in the end.
    pub(super) fn judge(&self, place: Place, log: &[u64]) -> Vec<Violation> {
        let mut history = History::default();
        for event in self.0.borrow().histories.get(&place).into_iter().flatten() {
            history.record(event.clone()).expect("the journal contradicts nothing");
        }
        check(&history, Offset::new(0), log)
    }

    fn record(&self, place: Place, event: impl FnOnce(u64) -> Event) {
        let event = {
            let mut state = self.0.borrow_mut();
            state.time += 1;
            event(state.time)
        };
        tracing::debug!("{}/{}: {event:?}", place.topic, place.partition);
        let mut state = self.0.borrow_mut();
        format!("{place:?} {event:?}").hash(&mut state.digest);
        state.histories.entry(place).or_default().push(event);
    }
}

impl Totals {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Appended { .. } => self.acknowledged += 1,
            Outcome::Read { .. } => self.reads += 1,
            Outcome::Failed => self.refused += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }
}

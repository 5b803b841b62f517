//! Records what clients do, on a clock of its own: a tick an event, so that real time never shows.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use varve_check::{Event, Outcome, Request};

/// A history being recorded. A clone records into the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Rc<RefCell<Vec<Event>>>);

impl Recorder {
    pub(crate) fn invoke(&self, request: Request) -> u64 {
        let mut events = self.0.borrow_mut();
        let op = events.len() as u64;
        events.push(Event::Invoke { op, at_ns: op, request });
        op
    }

    pub(crate) fn complete(&self, op: u64, outcome: Outcome) {
        let mut events = self.0.borrow_mut();
        let at_ns = events.len() as u64;
        events.push(Event::Complete { op, at_ns, outcome });
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.borrow().clone()
    }

    /// A digest of all events in order: equal for equal runs.
    pub(crate) fn digest(&self) -> u64 {
        // This hasher has fixed keys.
        let mut hasher = DefaultHasher::new();
        for event in self.0.borrow().iter() {
            format!("{event:?}").hash(&mut hasher);
        }
        hasher.finish()
    }
}

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use varve_check::{Event, History, Outcome, Request, Violation, check};
use varve_client::record::Offset;

/// Violations that are shown.
const VIOLATIONS_SHOWN: usize = 20;

/// Writes down what the clients of a partition ask and are told.
pub(super) struct Recorder {
    started: Instant,
    state: Mutex<State>,
    acknowledged: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    operations: u64,
    events: Vec<Event>,
    /// When the newest append was acknowledged, and the longest time that none was.
    acknowledged_ns: Option<u64>,
    gap_ns: u64,
    /// What clients were told that went wrong.
    errors: Vec<String>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), state: Mutex::default(), acknowledged: watch::Sender::new(0) }
    }

    /// An operation begins; to be called before anything is sent. Gives its number.
    pub(super) fn begin(&self, request: Request) -> u64 {
        let at_ns = self.now_ns();
        let mut state = self.state();
        let op = state.operations;
        state.operations += 1;
        state.events.push(Event::Invoke { op, at_ns, request });
        op
    }

    /// An operation has ended; to be called after the answer has come.
    pub(super) fn end(&self, op: u64, outcome: Outcome) {
        let is_acknowledged = matches!(outcome, Outcome::Appended { .. });
        let at_ns = self.now_ns();
        let mut state = self.state();
        state.events.push(Event::Complete { op, at_ns, outcome });
        if is_acknowledged {
            let before = state.acknowledged_ns.replace(at_ns).unwrap_or(at_ns);
            state.gap_ns = state.gap_ns.max(at_ns.saturating_sub(before));
        }
        drop(state);
        if is_acknowledged {
            self.acknowledged.send_modify(|acknowledged| *acknowledged += 1);
        }
    }

    /// Nobody can say what became of an operation, since its client was told this.
    pub(super) fn error(&self, op: u64, error: impl ToString) {
        self.end(op, Outcome::Unknown);
        self.state().errors.push(error.to_string());
    }

    /// How many appends are acknowledged.
    pub(super) fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// The longest time in which no append was acknowledged, since this was asked last. A figure, which no test holds
    /// against anything: it says as much of the machine.
    pub(super) fn take_gap(&self) -> Duration {
        Duration::from_nanos(std::mem::take(&mut self.state().gap_ns))
    }

    /// Which errors the clients have seen.
    pub(super) fn errors(&self) -> Vec<String> {
        self.state().errors.clone()
    }

    /// Holds what was recorded against the log.
    pub(super) fn judge(&self, log: &[u64]) {
        let state = self.state();
        let mut history = History::default();
        state.events.iter().for_each(|event| history.record(event.clone()).unwrap());
        let violations = check(&history, Offset::new(0), log);
        let shown: Vec<String> = violations.iter().take(VIOLATIONS_SHOWN).map(Violation::to_string).collect();
        let (count, operations) = (violations.len(), state.operations);
        assert!(violations.is_empty(), "{count} violations in {operations} operations: {shown:#?}");
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

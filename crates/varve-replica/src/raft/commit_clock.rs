//! When a group's entries passed which stage, for whoever watches.
//!
//! Where nobody does it is empty, and costs a look. What it holds is bounded, and to lose some of it costs a figure and nothing
//! else.

use crate::metrics::ReplicaMetrics;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use varve_telemetry::{Stage, Stages, TraceContext};

/// Entries that are remembered between their append and their commit.
const UNDER_WAY_MAX: usize = 8192;

/// What is known of an entry that is watched on its way to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// When the proposer decided on it here, or it arrived from its leader.
    pub(crate) since: Instant,
    /// Where it belongs in a trace, if it is in one that is recorded.
    pub(crate) trace: Option<TraceContext>,
}

/// An entry that a leader has appended and that is not applied yet.
#[derive(Debug)]
struct UnderWay {
    index: u64,
    appended: Instant,
    trace: Option<TraceContext>,
}

/// A group's clock. A clone is another handle.
#[derive(Clone, Debug)]
pub(crate) struct CommitClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stages: Stages,
    metrics: Arc<ReplicaMetrics>,
    under_way: Mutex<VecDeque<UnderWay>>,
    /// How many of them are in a trace, so that one look tells that none is.
    traced: AtomicUsize,
}

/// Entries that were committed and are being applied.
#[derive(Debug, Default)]
pub(crate) struct Applying {
    entries: u64,
    watched: Vec<(Instant, Option<TraceContext>)>,
}

impl CommitClock {
    pub(crate) fn new(stages: Stages, metrics: Arc<ReplicaMetrics>) -> Self {
        Self(Arc::new(Inner { stages, metrics, under_way: Mutex::default(), traced: AtomicUsize::new(0) }))
    }

    /// The mark of an entry that begins its way now; none where nobody watches.
    pub(crate) fn mark(&self, trace: Option<TraceContext>) -> Option<Arc<Mark>> {
        self.0.stages.is_on().then(|| Arc::new(Mark { since: Instant::now(), trace }))
    }

    /// A proposal has waited since `since`, and is decided on now.
    pub(crate) fn queued(&self, since: Instant, trace: Option<TraceContext>) {
        self.0.stages.took(Stage::Queue, since.elapsed(), trace);
    }

    /// These entries are in the log's memory. Those that this node made are under way from now on; `is_own` tells.
    pub(crate) fn appended(&self, marks: &[(u64, bool, Arc<Mark>)]) -> Synced {
        let now = Instant::now();
        let mut traces = Vec::new();
        let mut own = 0;
        let mut under_way = self.lock();
        for (index, is_own, mark) in marks {
            let took = now.saturating_duration_since(mark.since);
            if *is_own {
                own += 1;
                self.0.stages.took(Stage::Append, took, mark.trace);
                if under_way.len() == UNDER_WAY_MAX {
                    self.forget(under_way.pop_front().as_ref());
                }
                self.0.traced.fetch_add(usize::from(mark.trace.is_some()), Ordering::Relaxed);
                under_way.push_back(UnderWay { index: *index, appended: now, trace: mark.trace });
            } else if let Some(trace) = mark.trace {
                self.0.stages.followed(Stage::Append, took, trace);
            }
            traces.extend(mark.trace.map(|trace| (*is_own, trace)));
        }
        drop(under_way);
        Synced { clock: self.clone(), appended: now, traces, own }
    }

    /// The trace that an entry belongs to which is on its way to the others.
    pub(crate) fn trace_of(&self, index: u64) -> Option<TraceContext> {
        if self.0.traced.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let under_way = self.lock();
        let at = under_way.binary_search_by_key(&index, |entry| entry.index).ok()?;
        under_way.get(at)?.trace
    }

    /// Entries after `last` are taken back.
    pub(crate) fn truncated(&self, last: Option<u64>) {
        let mut under_way = self.lock();
        while under_way.back().is_some_and(|entry| last.is_none_or(|last| entry.index > last)) {
            self.forget(under_way.pop_back().as_ref());
        }
    }

    /// An entry is committed, and about to be applied.
    pub(crate) fn committed(&self, index: u64, applying: &mut Applying) {
        applying.entries += 1;
        self.0.metrics.committed();
        if !self.0.stages.is_on() {
            return;
        }
        let mut under_way = self.lock();
        // What lies before it was voided, or this is a second way to the same entry.
        while under_way.front().is_some_and(|entry| entry.index <= index) {
            let Some(entry) = under_way.pop_front() else { break };
            self.forget(Some(&entry));
            if entry.index == index {
                let now = Instant::now();
                self.0.stages.took(
                    Stage::Replicate,
                    now.saturating_duration_since(entry.appended),
                    entry.trace,
                );
                applying.watched.push((now, entry.trace));
            }
        }
    }

    /// They are applied, and whoever waited is answered.
    pub(crate) fn applied(&self, applying: &mut Applying) {
        self.0.metrics.applied(std::mem::take(&mut applying.entries));
        for (since, trace) in applying.watched.drain(..) {
            self.0.stages.took(Stage::Apply, since.elapsed(), trace);
        }
    }

    fn forget(&self, entry: Option<&UnderWay>) {
        if entry.is_some_and(|entry| entry.trace.is_some()) {
            self.0.traced.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<UnderWay>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Told when entries are durable.
#[derive(Debug)]
pub(crate) struct Synced {
    clock: CommitClock,
    appended: Instant,
    /// Those that are in a trace, and whether this node made them.
    traces: Vec<(bool, TraceContext)>,
    /// How many this node made.
    own: usize,
}

impl Synced {
    pub(crate) fn now(&self) {
        if self.own == 0 && self.traces.is_empty() {
            return;
        }
        let (stages, took) = (&self.clock.0.stages, self.appended.elapsed());
        let own_traces = self.traces.iter().filter(|(is_own, _)| *is_own).count();
        for (is_own, trace) in &self.traces {
            if *is_own {
                stages.took(Stage::Fsync, took, Some(*trace));
            } else {
                stages.followed(Stage::Fsync, took, *trace);
            }
        }
        (own_traces..self.own).for_each(|_| stages.took(Stage::Fsync, took, None));
    }
}

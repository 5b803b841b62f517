//! The check.

use crate::{History, Operation, Outcome, Request, Violation};
use std::collections::{BTreeMap, HashMap};
use varve_record::Offset;

/// Compares a history with the log in the end: `log[n]` is the value at offset `log_start + n`. What was trimmed before
/// `log_start` is not judged. Returns every violation, in order; none where all promises were kept.
///
/// The promises (DESIGN's invariants I1 to I9 for one partition): an acknowledged append is where it was said to be; no value is
/// twice; nothing is there that nobody appended or that was refused; reads saw what is there, in order, committed; and appends
/// with linearizable reads are linearizable. Time is O(n log n), for the sort.
#[must_use]
pub fn check(history: &History, log_start: Offset, log: &[u64]) -> Vec<Violation> {
    let mut checker = Checker { log_start, log, violations: Vec::new() };
    let appends = checker.appends(history);
    checker.log_against(&appends);
    checker.reads(history);
    checker.order(history, &appends);
    checker.violations.sort();
    checker.violations
}

struct Checker<'a> {
    log_start: Offset,
    log: &'a [u64],
    violations: Vec<Violation>,
}

impl<'a> Checker<'a> {
    /// Every append by its value; acknowledgements are compared with the log and with one another.
    fn appends<'h>(&mut self, history: &'h History) -> HashMap<u64, &'h Operation> {
        let mut by_value = HashMap::new();
        let mut by_offset = BTreeMap::new();
        for operation in history.operations() {
            let Request::Append { value } = operation.request else { continue };
            by_value.insert(value, operation);
            if let Outcome::Appended { offset } = operation.outcome {
                let (op, offset) = (operation.op, Offset::new(offset));
                if let Some(first) = by_offset.insert(offset, op) {
                    self.violations.push(Violation::SameOffset { first, second: op, offset });
                }
                if offset >= self.log_start && self.at(offset) != Some(value) {
                    self.violations.push(Violation::Lost { op, offset, found: self.at(offset) });
                }
            }
        }
        by_value
    }

    /// Every value in the log was appended, once, and not refused.
    fn log_against(&mut self, appends: &HashMap<u64, &Operation>) {
        let mut seen = HashMap::new();
        for (offset, value) in self.records() {
            if let Some(first) = seen.insert(value, offset) {
                self.violations.push(Violation::Doubled { value, first, second: offset });
            }
            match appends.get(&value) {
                None => self.violations.push(Violation::Phantom { value, offset }),
                Some(append) if append.outcome == Outcome::Failed => {
                    self.violations.push(Violation::Aborted { op: append.op, offset });
                }
                Some(_) => {}
            }
        }
    }

    /// Every read saw what is there, and every session went on where it was.
    fn reads(&mut self, history: &History) {
        let mut sessions: BTreeMap<u64, Session> = BTreeMap::new();
        for operation in history.operations() {
            let Request::Read { session, .. } = operation.request else { continue };
            let Outcome::Read { first_offset, values, high_watermark } = &operation.outcome else { continue };
            let (first, high_watermark) = (Offset::new(*first_offset), Offset::new(*high_watermark));
            let next = self.read(operation.op, first, values, high_watermark);
            let seen = Session { next, high_watermark };
            let state = sessions.entry(session).or_default();
            state.go_on(operation.op, session, first, seen, &mut self.violations);
        }
    }

    fn read(&mut self, op: u64, first: Offset, values: &[u64], high_watermark: Offset) -> Option<Offset> {
        let mut offset = first;
        for &value in values {
            if offset >= self.log_start && self.at(offset) != Some(value) {
                self.violations.push(Violation::Dirty { op, offset, value, found: self.at(offset) });
            }
            offset = offset.next();
        }
        if !values.is_empty() && offset > high_watermark {
            self.violations.push(Violation::Uncommitted { op, offset, high_watermark });
        }
        let end = self.log_start + self.log.len() as u64;
        if high_watermark > end {
            self.violations.push(Violation::Vanished { op, high_watermark, end });
        }
        (!values.is_empty()).then_some(offset)
    }

    /// Whether the log's order agrees with real time: no operation ended before one began that comes earlier.
    fn order(&mut self, history: &History, appends: &HashMap<u64, &Operation>) {
        let mut ordered: Vec<(u64, &Operation)> = Vec::new();
        for (offset, value) in self.records() {
            ordered.extend(appends.get(&value).map(|append| (offset.get() * 2, *append)));
        }
        for operation in history.operations() {
            if let (Request::Read { linearizable: true, .. }, Outcome::Read { high_watermark, .. }) =
                (&operation.request, &operation.outcome)
            {
                // A read that saw a tail of n comes after append n-1 and before append n.
                ordered.push(((high_watermark * 2).saturating_sub(1), operation));
            }
        }
        ordered.sort_by_key(|(place, operation)| (*place, operation.op));
        for group in ordered.chunk_by(|a, b| a.0 == b.0).scan(None, sweep) {
            self.violations.extend(group);
        }
    }

    fn at(&self, offset: Offset) -> Option<u64> {
        let place = offset.get().checked_sub(self.log_start.get())?;
        self.log.get(usize::try_from(place).ok()?).copied()
    }

    fn records(&self) -> impl Iterator<Item = (Offset, u64)> + use<'a> {
        let (log, start) = (self.log, self.log_start.get());
        log.iter().zip(start..).map(|(value, offset)| (Offset::new(offset), *value))
    }
}

/// Judges operations of one place in the order (reads of one tail are unordered among themselves) against the one of all earlier
/// places that began last.
#[expect(clippy::unnecessary_wraps, reason = "the shape that `scan` wants")]
fn sweep<'a>(
    last_begun: &mut Option<&'a Operation>,
    group: &[(u64, &'a Operation)],
) -> Option<Vec<Violation>> {
    let mut found = Vec::new();
    if let Some(earlier) = *last_begun {
        let ended = group.iter().filter(|(_, operation)| operation.completed_ns < earlier.invoked_ns);
        found.extend(
            ended.map(|(_, operation)| Violation::NotLinearizable { op: operation.op, before: earlier.op }),
        );
    }
    let begun = group.iter().map(|(_, operation)| *operation).chain(*last_begun);
    *last_begun = begun.max_by_key(|operation| operation.invoked_ns);
    Some(found)
}

/// Where a consumer's session is.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    /// The offset that comes next, once a record was seen.
    next: Option<Offset>,
    high_watermark: Offset,
}

impl Session {
    fn go_on(&mut self, op: u64, session: u64, first: Offset, seen: Self, found: &mut Vec<Violation>) {
        if let (Some(expected), Some(_)) = (self.next, seen.next)
            && expected != first
        {
            found.push(Violation::Broken { op, session, expected, found: first });
        }
        if seen.high_watermark < self.high_watermark {
            let (before, fell) = (self.high_watermark, seen.high_watermark);
            found.push(Violation::Fell { op, session, before, found: fell });
        }
        self.next = seen.next.or(self.next);
        self.high_watermark = seen.high_watermark.max(self.high_watermark);
    }
}

//! What the clients of one partition did.

use crate::{Event, Outcome, Request};
use std::collections::BTreeMap;
use std::io::{self, BufRead};
use thiserror::Error;

/// An operation, its two events put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub op: u64,
    /// When it began.
    pub invoked_ns: u64,
    /// When it ended; `u64::MAX` where it never did, or nobody can say what became of it.
    pub completed_ns: u64,
    /// What was asked.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

/// What the clients of one partition did, by the operations' numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    operations: BTreeMap<u64, Operation>,
}

/// A history that contradicts itself: the recorder is wrong, and says nothing about the log.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// A line cannot be read.
    #[error("cannot read line {line} of the history: {source}")]
    Io {
        /// The line, from 1.
        line: usize,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no event.
    #[error("line {line} of the history is no event: {source}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An operation begins twice.
    #[error("operation {0} begins twice")]
    Twice(u64),
    /// An operation ends that did not begin, or ends twice, or before it began.
    #[error("operation {0} ends without having begun, twice, or too early")]
    End(u64),
    /// The answer does not fit what was asked.
    #[error("operation {0} was answered with what was not asked for")]
    Answer(u64),
}

impl History {
    /// Reads a history: one JSON event a line.
    ///
    /// # Errors
    /// Where a line is no event, or the events contradict one another.
    pub fn read(lines: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (at, line) in lines.lines().enumerate() {
            let line = line.map_err(|source| HistoryError::Io { line: at + 1, source })?;
            let event = serde_json::from_str(&line);
            history.record(event.map_err(|source| HistoryError::Line { line: at + 1, source })?)?;
        }
        Ok(history)
    }

    /// Takes over one event.
    ///
    /// # Errors
    /// Where it contradicts those before it.
    pub fn record(&mut self, event: Event) -> Result<(), HistoryError> {
        match event {
            Event::Invoke { op, at_ns, request } => self.invoke(op, at_ns, request),
            Event::Complete { op, at_ns, outcome } => self.complete(op, at_ns, outcome),
        }
    }

    /// The operations, by number.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = &Operation> {
        self.operations.values()
    }

    fn invoke(&mut self, op: u64, at_ns: u64, request: Request) -> Result<(), HistoryError> {
        let begun =
            Operation { op, invoked_ns: at_ns, completed_ns: u64::MAX, request, outcome: Outcome::Unknown };
        match self.operations.insert(op, begun) {
            None => Ok(()),
            Some(_) => Err(HistoryError::Twice(op)),
        }
    }

    fn complete(&mut self, op: u64, at_ns: u64, outcome: Outcome) -> Result<(), HistoryError> {
        let operation = self.operations.get_mut(&op).ok_or(HistoryError::End(op))?;
        if operation.completed_ns != u64::MAX || at_ns < operation.invoked_ns {
            return Err(HistoryError::End(op));
        }
        match (&operation.request, &outcome) {
            (Request::Append { .. }, Outcome::Read { .. })
            | (Request::Read { .. }, Outcome::Appended { .. }) => {
                return Err(HistoryError::Answer(op));
            }
            // It may still take effect at any later time.
            (Request::Append { .. }, Outcome::Unknown) => {}
            _ => operation.completed_ns = at_ns,
        }
        operation.outcome = outcome;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_an_event() {
        let lines = concat!(
            r#"{"event":"invoke","op":1,"at_ns":10,"request":{"request":"append","value":7}}"#,
            "\n",
            r#"{"event":"complete","op":1,"at_ns":20,"outcome":{"outcome":"appended","offset":0}}"#,
            "\n",
        );
        let history = History::read(lines.as_bytes()).unwrap();
        let operation = history.operations().next().unwrap();
        assert_eq!((operation.invoked_ns, operation.completed_ns), (10, 20));
        assert_eq!(operation.outcome, Outcome::Appended { offset: 0 });
    }

    #[test]
    fn refuses_what_contradicts_itself() {
        let invoke = |op| Event::Invoke { op, at_ns: 5, request: Request::Append { value: op } };
        let complete = |at_ns, outcome| Event::Complete { op: 1, at_ns, outcome };
        let mut history = History::default();
        history.record(invoke(1)).unwrap();
        assert!(history.record(invoke(1)).is_err());
        let mut history = History::default();
        assert!(history.record(complete(9, Outcome::Failed)).is_err());
        history.record(invoke(1)).unwrap();
        assert!(history.record(complete(4, Outcome::Failed)).is_err());
        let read = Outcome::Read { first_offset: 0, values: vec![], high_watermark: 0 };
        assert!(history.record(complete(9, read)).is_err());
        history.record(complete(9, Outcome::Failed)).unwrap();
        assert!(history.record(complete(10, Outcome::Failed)).is_err());
    }
}

//! What a log did that it must not.

use thiserror::Error;
use varve_record::Offset;

/// A promise that was broken. Operations are named by their numbers in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Violation {
    /// An acknowledged append is not in the log where it was said to be.
    #[error("append {op} was acknowledged at offset {offset}, where the log holds {found:?}")]
    Lost {
        /// The append.
        op: u64,
        /// The offset in the acknowledgement.
        offset: Offset,
        /// The value there.
        found: Option<u64>,
    },
    /// A value is in the log twice.
    #[error("value {value} is in the log at offset {first} and again at {second}")]
    Doubled {
        /// The value.
        value: u64,
        /// Where it is first.
        first: Offset,
        /// Where it is again.
        second: Offset,
    },
    /// The log holds what nobody appended.
    #[error("the log holds value {value} at offset {offset}, which nobody appended")]
    Phantom {
        /// The value.
        value: u64,
        /// Where it is.
        offset: Offset,
    },
    /// The log holds what was refused.
    #[error("append {op} was refused, but its value is in the log at offset {offset}")]
    Aborted {
        /// The append.
        op: u64,
        /// Where it is.
        offset: Offset,
    },
    /// A read saw what the log does not hold there.
    #[error("read {op} saw value {value} at offset {offset}, where the log holds {found:?}")]
    Dirty {
        /// The read.
        op: u64,
        /// The offset.
        offset: Offset,
        /// What it saw.
        value: u64,
        /// What is there.
        found: Option<u64>,
    },
    /// A read saw records at or above the high watermark that came with them.
    #[error("read {op} saw offset {offset} although the high watermark was {high_watermark}")]
    Uncommitted {
        /// The read.
        op: u64,
        /// The offset after the last record that it saw.
        offset: Offset,
        /// The high watermark in the answer.
        high_watermark: Offset,
    },
    /// A high watermark promised records that the log does not hold in the end.
    #[error("read {op} saw the high watermark at {high_watermark}, but the log ends at {end}")]
    Vanished {
        /// The read.
        op: u64,
        /// The high watermark in the answer.
        high_watermark: Offset,
        /// The offset after the log's last record.
        end: Offset,
    },
    /// A session skipped records, or went back.
    #[error("read {op} of session {session} goes on at offset {found}, the one before ended at {expected}")]
    Broken {
        /// The read.
        op: u64,
        /// Its session.
        session: u64,
        /// The offset that was next.
        expected: Offset,
        /// The offset that came.
        found: Offset,
    },
    /// The high watermark fell in a session.
    #[error("read {op} of session {session} saw the high watermark fall to {found}, it was {before}")]
    Fell {
        /// The read.
        op: u64,
        /// Its session.
        session: u64,
        /// The high watermark before.
        before: Offset,
        /// The high watermark in the answer.
        found: Offset,
    },
    /// An operation ended before one began that the log's order puts earlier.
    #[error("operation {op} ended before operation {before} began, which the log's order puts earlier")]
    NotLinearizable {
        /// The operation that ended too early.
        op: u64,
        /// The one that had to come before it.
        before: u64,
    },
    /// Two acknowledgements name one offset.
    #[error("appends {first} and {second} were both acknowledged at offset {offset}")]
    SameOffset {
        /// One append.
        first: u64,
        /// The other.
        second: u64,
        /// The offset.
        offset: Offset,
    },
}

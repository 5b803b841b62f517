//! A line of a history.

use serde::{Deserialize, Serialize};

/// One line of a history: an operation begins, or ends. A recorder writes the beginning before it sends anything, so that no
/// operation that may have had an effect is missing. Times are nanoseconds of one monotonic clock shared by all clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An operation begins.
    Invoke {
        /// Its number, unique in the history.
        op: u64,
        /// When.
        at_ns: u64,
        /// What is asked.
        request: Request,
    },
    /// An operation ends. One that never does has an unknown outcome.
    Complete {
        /// Its number.
        op: u64,
        /// When.
        at_ns: u64,
        /// What was answered.
        outcome: Outcome,
    },
}

/// What is asked of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Append a value, which no other append of the history has: a number or a digest of the record.
    Append {
        /// The value.
        value: u64,
    },
    /// Read records.
    Read {
        /// The consumer's session: a new one begins where a consumer positions itself anew.
        session: u64,
        /// Whether the read must see all that was acknowledged before it began.
        linearizable: bool,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The value was appended.
    Appended {
        /// Its offset.
        offset: u64,
    },
    /// The records were read.
    Read {
        /// The first record's offset; of no meaning where there are none.
        first_offset: u64,
        /// The values, at offsets one after another.
        values: Vec<u64>,
        /// The high watermark that came with them.
        high_watermark: u64,
    },
    /// It was refused, and certainly had no effect. Never a timeout.
    Failed,
    /// Nobody can say.
    Unknown,
}

//! Whether a log kept its promises, judged from outside: from what clients asked and were told, and what the log holds in the
//! end.
//!
//! A [`History`] is what one partition's clients did, an [`Event`] a line of it. [`check`] compares it with the log that is read
//! when all is over, and names every [`Violation`]. The check of linearizability is exact and takes linear time after a sort,
//! because offsets already say which order the log claims: append 0, reads that saw one record, append 1, reads that saw two, and
//! so on. What is left to ask is whether any operation ended before one that the claimed order puts earlier had begun.
//!
//! It must never know the system under test. Start reading at [`check`].

mod check;
mod event;
mod history;
mod violation;

pub use check::check;
pub use event::{Event, Outcome, Request};
pub use history::{History, HistoryError, Operation};
pub use violation::Violation;

//! Where a log is damaged.

use std::fmt;
use std::path::PathBuf;
use varve_record::Index;

/// Bytes at rest that were once durable and are no longer what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The byte in it where the first unreadable thing begins.
    pub position: u64,
    /// The first entry that cannot be read.
    pub first_index: Index,
    /// The last entry that cannot be read; `None` where nothing behind it tells.
    pub last_index: Option<Index>,
    /// What was found there.
    pub reason: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at position {}: {}", self.file.display(), self.position, self.reason)?;
        match self.last_index {
            Some(last) if last != self.first_index => write!(f, " (entries {} to {last})", self.first_index),
            Some(_) => write!(f, " (entry {})", self.first_index),
            None => write!(f, " (entries from {})", self.first_index),
        }
    }
}

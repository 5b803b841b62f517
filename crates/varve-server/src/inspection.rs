//! What a process lets those see and do who look into it.

use std::fmt;
use std::time::Duration;

/// The process that a node runs in, for those who may administer the cluster.
pub trait Inspection: Send + Sync + fmt::Debug {
    /// What is logged.
    fn log_filter(&self) -> String;

    /// Changes what is logged.
    ///
    /// # Errors
    /// Why the filter is none.
    fn set_log_filter(&self, filter: &str) -> Result<(), String>;

    /// The newest lines that were logged.
    fn recent_logs(&self) -> Vec<u8>;

    /// The settings that the process was started with, in YAML. Nothing secret is among them.
    fn settings(&self) -> String;

    /// Looks for so long, so many times a second, where processor time is spent; gives folded stacks. Blocks.
    ///
    /// # Errors
    /// What went wrong.
    fn profile(&self, duration: Duration, frequency: u32) -> Result<String, String>;
}

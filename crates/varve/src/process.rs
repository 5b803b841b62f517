//! This process, for those who may look into it.

use std::time::Duration;

use varve_server::Inspection;

use crate::logging::Logs;
use crate::profile;

/// This process.
#[derive(Debug)]
pub(crate) struct Process {
    /// What it logs.
    pub(crate) logs: Logs,
    /// The settings in force, in YAML.
    pub(crate) settings: String,
}

impl Inspection for Process {
    fn log_filter(&self) -> String {
        self.logs.filter()
    }

    fn set_log_filter(&self, filter: &str) -> Result<(), String> {
        self.logs.set_filter(filter)
    }

    fn recent_logs(&self) -> Vec<u8> {
        self.logs.recent()
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn profile(&self, duration: Duration, frequency: u32) -> Result<String, String> {
        profile::take(duration, frequency)
    }
}

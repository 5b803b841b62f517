//! The settings of a topic, as flags.

use std::time::Duration;

use clap::Args;
use varve_api::v1::TopicSettings;

use crate::units::{parse_bytes, parse_duration};

/// Settings that differ from the server's.
#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// Bytes to keep per partition, as in 10GiB; 0 keeps everything
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    retention_bytes: Option<u64>,
    /// Time to keep records, as in 12h or 7d; 0 keeps everything
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    retention_age: Option<Duration>,
    /// Size at which a segment file is closed and the next begun
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    segment_bytes: Option<u64>,
    /// Largest record accepted: key, value and headers together
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    record_bytes_max: Option<u64>,
}

impl SettingArgs {
    /// Whether none is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.to_proto() == TopicSettings::default()
    }

    /// As the server takes them.
    pub(crate) fn to_proto(&self) -> TopicSettings {
        let ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        TopicSettings {
            retention_bytes: self.retention_bytes,
            retention_ms: self.retention_age.map(ms),
            segment_bytes: self.segment_bytes,
            record_bytes_max: self.record_bytes_max,
        }
    }
}

//! What a topic gets where it does not say.

use varve_controller::TopicSettings;
use varve_replica::PartitionSettings;
use varve_storage::{PartitionConfig, Retention};

use crate::NodeConfig;

/// The server's defaults for topics.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) partitions: u32,
    pub(crate) replication_factor: u32,
    retention_bytes: u64,
    retention_ms: u64,
    segment_bytes: u64,
    record_bytes_max: usize,
}

/// The settings of a topic with the server's defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    /// 0 keeps everything.
    pub(crate) retention_bytes: u64,
    /// 0 keeps everything.
    pub(crate) retention_ms: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) record_bytes_max: usize,
}

impl Defaults {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        Self {
            partitions: config.default_partitions,
            replication_factor: config.default_replication_factor,
            retention_bytes: config.retention_bytes.unwrap_or(0),
            retention_ms: config.retention_ms.unwrap_or(0),
            segment_bytes: config.segment_bytes,
            record_bytes_max: config.record_bytes_max,
        }
    }

    /// What is in force for a topic with these settings.
    pub(crate) fn apply(&self, settings: &TopicSettings) -> Effective {
        let own = settings.record_bytes_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        Effective {
            retention_bytes: settings.retention_bytes.unwrap_or(self.retention_bytes),
            retention_ms: settings.retention_ms.unwrap_or(self.retention_ms),
            segment_bytes: settings.segment_bytes.unwrap_or(self.segment_bytes),
            record_bytes_max: own.unwrap_or(self.record_bytes_max),
        }
    }
}

impl Effective {
    /// What the topic's partitions are opened with.
    pub(crate) fn partition(&self) -> PartitionSettings {
        let log = PartitionConfig { segment_bytes: self.segment_bytes, ..PartitionConfig::default() };
        PartitionSettings { log, retention: self.retention() }
    }

    fn retention(&self) -> Retention {
        let limit = |value: u64| Some(value).filter(|value| *value > 0);
        let age_ms = limit(self.retention_ms).map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        Retention { bytes: limit(self.retention_bytes), age_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_overrules_the_server_and_zero_keeps_everything() {
        let mut config = NodeConfig::new("/data");
        config.retention_bytes = Some(1000);
        config.retention_ms = Some(5);
        let defaults = Defaults::new(&config);
        let mut settings = TopicSettings::default();
        assert_eq!(defaults.apply(&settings).retention(), Retention { bytes: Some(1000), age_ms: Some(5) });
        settings.retention_bytes = Some(0);
        settings.retention_ms = Some(u64::MAX);
        let all = Retention { bytes: None, age_ms: Some(i64::MAX) };
        assert_eq!(defaults.apply(&settings).retention(), all);
        settings.segment_bytes = Some(65536);
        settings.record_bytes_max = Some(9);
        assert_eq!(defaults.apply(&settings).partition().log.segment_bytes, 65536);
        assert_eq!(defaults.apply(&settings).record_bytes_max, 9);
    }
}

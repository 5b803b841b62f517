//! What a topic gets where it does not say.

use varve_controller::TopicSettings;
use varve_replica::PartitionSettings;
use varve_storage::{PartitionConfig, Retention};

use crate::NodeConfig;

/// The server's defaults for topics.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) partitions: u32,
    settings: TopicSettings,
    record_bytes_max: usize,
    segment_bytes: u64,
}

impl Defaults {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let settings = TopicSettings {
            retention_bytes: config.retention_bytes,
            retention_ms: config.retention_ms,
            segment_bytes: None,
            record_bytes_max: None,
        };
        Self {
            partitions: config.default_partitions,
            settings,
            record_bytes_max: config.record_bytes_max,
            segment_bytes: config.segment_bytes,
        }
    }

    /// What the partitions of a topic with these settings are opened with.
    pub(crate) fn partition(&self, settings: &TopicSettings) -> PartitionSettings {
        let segment_bytes = settings.segment_bytes.unwrap_or(self.segment_bytes);
        let log = PartitionConfig { segment_bytes, ..PartitionConfig::default() };
        PartitionSettings { log, retention: self.retention(settings) }
    }

    /// What a topic with these settings keeps. On the wire 0 keeps everything.
    pub(crate) fn retention(&self, settings: &TopicSettings) -> Retention {
        let bytes = settings.retention_bytes.or(self.settings.retention_bytes).filter(|bytes| *bytes > 0);
        let age_ms = settings.retention_ms.or(self.settings.retention_ms).filter(|ms| *ms > 0);
        Retention { bytes, age_ms: age_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)) }
    }

    /// The largest record of a topic with these settings.
    pub(crate) fn record_bytes_max(&self, settings: &TopicSettings) -> usize {
        let own = settings.record_bytes_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        own.unwrap_or(self.record_bytes_max)
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
        assert_eq!(defaults.retention(&settings), Retention { bytes: Some(1000), age_ms: Some(5) });
        settings.retention_bytes = Some(0);
        settings.retention_ms = Some(u64::MAX);
        assert_eq!(defaults.retention(&settings), Retention { bytes: None, age_ms: Some(i64::MAX) });
        settings.segment_bytes = Some(65536);
        settings.record_bytes_max = Some(9);
        assert_eq!(defaults.partition(&settings).log.segment_bytes, 65536);
        assert_eq!(defaults.record_bytes_max(&settings), 9);
    }
}

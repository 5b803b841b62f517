//! What can be set for a topic.

use serde::{Deserialize, Serialize};

/// Settings of a topic; what is absent takes the server's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// Bytes that each partition keeps, at least; older segments go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Milliseconds that a record is kept, at least, by append time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Bytes at which a segment is closed and the next begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<u64>,
    /// Largest record, in bytes of key, value and headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_bytes_max: Option<u64>,
}

/// A change of settings: what is absent stays, an inner `None` goes back to the server's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// For [`TopicSettings::retention_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "twice")]
    pub retention_bytes: Option<Option<u64>>,
    /// For [`TopicSettings::retention_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "twice")]
    pub retention_ms: Option<Option<u64>>,
    /// For [`TopicSettings::segment_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "twice")]
    pub segment_bytes: Option<Option<u64>>,
    /// For [`TopicSettings::record_bytes_max`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "twice")]
    pub record_bytes_max: Option<Option<u64>>,
}

impl TopicSettings {
    /// Takes a change over.
    pub fn change(&mut self, change: &SettingsChange) {
        let pairs = [
            (&mut self.retention_bytes, change.retention_bytes),
            (&mut self.retention_ms, change.retention_ms),
            (&mut self.segment_bytes, change.segment_bytes),
            (&mut self.record_bytes_max, change.record_bytes_max),
        ];
        for (setting, value) in pairs {
            if let Some(value) = value {
                *setting = value;
            }
        }
    }
}

/// Tells `null` (a value: back to the default) from a missing field (no change).
mod twice {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<u64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<u64>>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(Some)
    }
}

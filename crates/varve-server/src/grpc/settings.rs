//! Settings of topics, from the wire and back.

use varve_api::error::ApiError;
use varve_api::v1;
use varve_controller::{SettingsChange, TopicSettings};
use varve_storage::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

use crate::RECORD_BYTES_SETTING_MAX;
use crate::error::invalid;
use crate::topics::Effective;

/// Takes settings from a request, if each can be.
pub(crate) fn from_wire(settings: Option<v1::TopicSettings>) -> Result<TopicSettings, ApiError> {
    let settings = settings.unwrap_or_default();
    check("settings.segment_bytes", settings.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)?;
    check("settings.record_bytes_max", settings.record_bytes_max, 1, RECORD_BYTES_SETTING_MAX as u64)?;
    Ok(TopicSettings {
        retention_bytes: settings.retention_bytes,
        retention_ms: settings.retention_ms,
        segment_bytes: settings.segment_bytes,
        record_bytes_max: settings.record_bytes_max,
    })
}

/// Settings as a change: what is absent stays.
pub(crate) fn as_change(settings: TopicSettings) -> SettingsChange {
    SettingsChange {
        retention_bytes: settings.retention_bytes.map(Some),
        retention_ms: settings.retention_ms.map(Some),
        segment_bytes: settings.segment_bytes.map(Some),
        record_bytes_max: settings.record_bytes_max.map(Some),
    }
}

/// Settings as an answer has them.
pub(crate) fn to_wire(settings: &TopicSettings) -> v1::TopicSettings {
    v1::TopicSettings {
        retention_bytes: settings.retention_bytes,
        retention_ms: settings.retention_ms,
        segment_bytes: settings.segment_bytes,
        record_bytes_max: settings.record_bytes_max,
    }
}

/// The settings in force, none absent.
pub(crate) fn effective_to_wire(effective: &Effective) -> v1::TopicSettings {
    v1::TopicSettings {
        retention_bytes: Some(effective.retention_bytes),
        retention_ms: Some(effective.retention_ms),
        segment_bytes: Some(effective.segment_bytes),
        record_bytes_max: Some(effective.record_bytes_max as u64),
    }
}

fn check(field: &str, value: Option<u64>, min: u64, max: u64) -> Result<(), ApiError> {
    match value {
        Some(value) if !(min..=max).contains(&value) => {
            Err(invalid(field, format!("{value} is not {min} to {max}")))
        }
        _ => Ok(()),
    }
}

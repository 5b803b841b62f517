//! What changes the metadata.

use crate::{MetadataError, ProducerIdentity, SettingsChange, Topic, TopicSettings, number};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use varve_record::{PartitionId, ProducerId, Timestamp};

/// A change of the metadata, as an entry of the controller's log carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Makes a topic.
    CreateTopic {
        /// Its name.
        topic: String,
        /// Partitions, at least one.
        partitions: u32,
        /// Replicas wanted, at least one.
        replication_factor: u32,
        /// When it was asked for.
        #[serde(with = "number")]
        created_ms: Timestamp,
        /// Its settings.
        #[serde(default)]
        settings: TopicSettings,
    },
    /// Changes a topic.
    AlterTopic {
        /// Its name.
        topic: String,
        /// Partitions that it shall have; absent leaves them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partitions: Option<u32>,
        /// Settings to change.
        #[serde(default)]
        settings: SettingsChange,
    },
    /// Deletes a topic and its records.
    DeleteTopic {
        /// Its name.
        topic: String,
    },
    /// Begins a new life of a named producer, which fences the one before.
    InitProducer {
        /// Its name.
        name: String,
    },
    /// Takes a block of producer ids.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The topic as it is now.
    Topic(Topic),
    /// The partitions that are no more.
    Deleted(Vec<PartitionId>),
    /// The producer's new identity.
    Producer(ProducerIdentity),
    /// The first id of the block.
    ProducerIds(ProducerId),
}

/// What [`crate::Metadata::apply`] answers.
pub(crate) type Applied = Result<Response, MetadataError>;

/// Bytes that are no command of this version.
#[derive(Debug, Error)]
#[error("not a metadata command that this version knows: {0}")]
pub struct DecodeError(#[from] serde_json::Error);

impl Command {
    /// The command as an entry's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("a command has string keys and numbers only, which JSON can always hold")
    }

    /// The command in an entry's body.
    ///
    /// # Errors
    /// Where the bytes are no command, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_through_json_and_back() {
        let settings = SettingsChange { retention_ms: Some(None), ..SettingsChange::default() };
        let commands = [
            Command::CreateTopic {
                topic: "events".to_owned(),
                partitions: 3,
                replication_factor: 1,
                created_ms: Timestamp::new(5),
                settings: TopicSettings { retention_bytes: Some(5), ..TopicSettings::default() },
            },
            Command::AlterTopic { topic: "events".to_owned(), partitions: None, settings },
            Command::DeleteTopic { topic: "events".to_owned() },
            Command::InitProducer { name: "billing".to_owned() },
            Command::AllocateProducerIds { count: 1000 },
        ];
        for command in commands {
            assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        }
    }

    #[test]
    fn the_bytes_of_a_command_stay_what_they_were() {
        let bytes = br#"{"command":"create_topic","topic":"events","partitions":3,"replication_factor":1,"created_ms":5,"settings":{"retention_ms":60000}}"#;
        let command = Command::decode(bytes).unwrap();
        assert_eq!(command.encode(), bytes);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for bytes in [&b""[..], b"{}", b"[1]", br#"{"command":"fly"}"#, b"\xff"] {
            assert!(Command::decode(bytes).is_err());
        }
    }
}

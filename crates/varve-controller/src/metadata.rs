//! The state.

use crate::command::{Applied, Command, Response};
use crate::limits::PARTITIONS_MAX;
use crate::producers::Producers;
use crate::{MetadataError, SettingsChange, Topic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use varve_api::TopicName;
use varve_record::PartitionId;

/// The cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    topics: BTreeMap<String, Topic>,
    /// Numbers of partitions are never used twice. 0 is the controller's own.
    next_partition: u64,
    producers: Producers,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { topics: BTreeMap::new(), next_partition: 1, producers: Producers::default() }
    }
}

impl Metadata {
    /// The partition that carries the metadata itself.
    pub const CONTROLLER: PartitionId = PartitionId::new(0);

    /// Every topic by name, in order.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    /// A topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Whether a partition was once given to a topic, and belongs to none any more: its records are no longer wanted.
    #[must_use]
    pub fn was_deleted(&self, id: PartitionId) -> bool {
        let given_out = id != Self::CONTROLLER && id.get() < self.next_partition;
        given_out && !self.topics.values().any(|topic| topic.partitions.contains(&id))
    }

    /// Takes a command over, or refuses it and stays as it was.
    ///
    /// # Errors
    /// The refusal.
    pub fn apply(&mut self, command: &Command) -> Applied {
        match command {
            Command::CreateTopic { topic, partitions, replication_factor, created_ms, settings } => {
                let (replication_factor, created_ms) = (*replication_factor, *created_ms);
                let settings = settings.clone();
                let new = Topic { partitions: Vec::new(), replication_factor, created_ms, settings };
                self.create_topic(topic, *partitions, new)
            }
            Command::AlterTopic { topic, partitions, settings } => {
                self.alter_topic(topic, *partitions, settings)
            }
            Command::DeleteTopic { topic } => match self.topics.remove(topic) {
                Some(gone) => Ok(Response::Deleted(gone.partitions)),
                None => Err(MetadataError::TopicNotFound(topic.clone())),
            },
            Command::InitProducer { name } => self.producers.init(name).map(Response::Producer),
            Command::AllocateProducerIds { count } => {
                self.producers.allocate(*count).map(Response::ProducerIds)
            }
        }
    }

    fn create_topic(&mut self, name: &str, partitions: u32, new: Topic) -> Applied {
        TopicName::new(name).map_err(|_| MetadataError::TopicName(name.to_owned()))?;
        if self.topics.contains_key(name) {
            return Err(MetadataError::TopicExists(name.to_owned()));
        }
        if partitions == 0 {
            return Err(MetadataError::Zero("partition"));
        }
        if new.replication_factor == 0 {
            return Err(MetadataError::Zero("replica"));
        }
        let topic = Topic { partitions: self.number_partitions(partitions)?, ..new };
        self.topics.insert(name.to_owned(), topic.clone());
        Ok(Response::Topic(topic))
    }

    fn alter_topic(&mut self, name: &str, partitions: Option<u32>, change: &SettingsChange) -> Applied {
        let has = match self.topics.get(name) {
            Some(topic) => topic.partitions.len(),
            None => return Err(MetadataError::TopicNotFound(name.to_owned())),
        };
        let wanted = partitions.map_or(has, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if wanted < has {
            return Err(MetadataError::FewerPartitions { topic: name.to_owned(), has, wanted });
        }
        let more = self.number_partitions(u32::try_from(wanted - has).unwrap_or(u32::MAX))?;
        let topic = self.topics.get_mut(name).ok_or_else(|| MetadataError::TopicNotFound(name.to_owned()))?;
        topic.partitions.extend(more);
        topic.settings.change(change);
        Ok(Response::Topic(topic.clone()))
    }

    fn number_partitions(&mut self, count: u32) -> Result<Vec<PartitionId>, MetadataError> {
        let has: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        let wanted = has.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        if wanted > PARTITIONS_MAX {
            return Err(MetadataError::TooManyPartitions { wanted, max: PARTITIONS_MAX });
        }
        let first = self.next_partition;
        self.next_partition += u64::from(count);
        Ok((first..self.next_partition).map(PartitionId::new).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicSettings;
    use varve_record::Timestamp;

    fn create(name: &str, partitions: u32) -> Command {
        let settings = TopicSettings::default();
        let created_ms = Timestamp::new(7);
        Command::CreateTopic {
            topic: name.to_owned(),
            partitions,
            replication_factor: 1,
            created_ms,
            settings,
        }
    }

    fn alter(name: &str, partitions: u32) -> Command {
        let settings = SettingsChange::default();
        Command::AlterTopic { topic: name.to_owned(), partitions: Some(partitions), settings }
    }

    fn partitions(metadata: &Metadata, name: &str) -> Vec<u64> {
        metadata.topic(name).unwrap().partitions.iter().map(|id| id.get()).collect()
    }

    #[test]
    fn partition_numbers_are_never_used_twice() {
        let mut metadata = Metadata::default();
        metadata.apply(&create("a", 2)).unwrap();
        metadata.apply(&create("b", 1)).unwrap();
        metadata.apply(&Command::DeleteTopic { topic: "a".to_owned() }).unwrap();
        metadata.apply(&create("a", 2)).unwrap();
        metadata.apply(&alter("b", 2)).unwrap();
        assert_eq!(partitions(&metadata, "a"), [4, 5]);
        assert_eq!(partitions(&metadata, "b"), [3, 6]);
    }

    #[test]
    fn a_deleted_partition_is_told_from_one_that_never_was() {
        let mut metadata = Metadata::default();
        metadata.apply(&create("a", 1)).unwrap();
        metadata.apply(&create("b", 1)).unwrap();
        metadata.apply(&Command::DeleteTopic { topic: "a".to_owned() }).unwrap();
        let deleted = |id| metadata.was_deleted(PartitionId::new(id));
        assert_eq!([deleted(0), deleted(1), deleted(2), deleted(3)], [false, true, false, false]);
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let mut metadata = Metadata::default();
        metadata.apply(&create("a", 2)).unwrap();
        let before = metadata.clone();
        let refused = [
            create("a", 1),
            create("../x", 1),
            create("b", 0),
            create("b", u32::MAX),
            alter("a", 1),
            alter("a", u32::MAX),
            alter("none", 3),
            Command::DeleteTopic { topic: "none".to_owned() },
            Command::InitProducer { name: String::new() },
        ];
        for command in refused {
            assert!(metadata.apply(&command).is_err(), "{command:?}");
            assert_eq!(metadata, before, "{command:?}");
        }
    }

    #[test]
    fn settings_change_one_by_one_and_go_back_to_the_default() {
        let mut metadata = Metadata::default();
        metadata.apply(&create("a", 1)).unwrap();
        let mut change = |settings| {
            metadata
                .apply(&Command::AlterTopic { topic: "a".to_owned(), partitions: None, settings })
                .unwrap();
            metadata.topic("a").unwrap().settings.clone()
        };
        change(SettingsChange { retention_ms: Some(Some(5)), ..SettingsChange::default() });
        let both = change(SettingsChange { retention_bytes: Some(Some(7)), ..SettingsChange::default() });
        assert_eq!((both.retention_ms, both.retention_bytes), (Some(5), Some(7)));
        let one = change(SettingsChange { retention_ms: Some(None), ..SettingsChange::default() });
        assert_eq!((one.retention_ms, one.retention_bytes), (None, Some(7)));
    }

    #[test]
    fn the_state_goes_through_json_and_back() {
        let mut metadata = Metadata::default();
        metadata.apply(&create("a", 2)).unwrap();
        metadata.apply(&Command::InitProducer { name: "p".to_owned() }).unwrap();
        let json = serde_json::to_string(&metadata).unwrap();
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    }
}

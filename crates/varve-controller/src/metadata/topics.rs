//! Commands that change topics.

use crate::command::{Applied, Response};
use crate::limits::{PARTITIONS_MAX, REPLICATION_FACTOR_MAX};
use crate::spread::Spread;
use crate::{Metadata, MetadataError, Placement, SettingsChange, Topic};
use std::sync::Arc;
use varve_api::TopicName;
use varve_record::{NodeId, PartitionId};

impl Metadata {
    pub(super) fn create_topic(
        &mut self,
        name: &str,
        partitions: u32,
        new: Topic,
        alive: &[NodeId],
    ) -> Applied {
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
        // Logs from before there were nodes hold topics with any factor: what was accepted once stays accepted.
        if new.replication_factor > REPLICATION_FACTOR_MAX && !self.nodes.is_untouched() {
            return Err(too_many_replicas(new.replication_factor));
        }
        let topic = Topic { partitions: self.number_partitions(partitions)?, ..new };
        let name: Arc<str> = name.into();
        self.place_partitions(&name, &topic, 0, alive);
        Arc::make_mut(&mut self.topics).insert(name, Arc::new(topic.clone()));
        self.changed(Response::Topic(topic))
    }

    pub(super) fn alter_topic(
        &mut self,
        name: &str,
        partitions: Option<u32>,
        change: &SettingsChange,
        alive: &[NodeId],
    ) -> Applied {
        let Some((name, topic)) = self.topics.get_key_value(name) else {
            return Err(MetadataError::TopicNotFound(name.to_owned()));
        };
        let (name, before) = (Arc::clone(name), Arc::clone(topic));
        let has = before.partitions.len();
        let wanted = partitions.map_or(has, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if wanted < has {
            return Err(MetadataError::FewerPartitions { topic: name.to_string(), has, wanted });
        }
        let mut topic = Topic::clone(&before);
        topic.partitions.extend(self.number_partitions(u32::try_from(wanted - has).unwrap_or(u32::MAX))?);
        topic.settings.change(change);
        if topic == *before {
            return Ok(Response::Topic(topic));
        }
        self.place_partitions(&name, &topic, has, alive);
        Arc::make_mut(&mut self.topics).insert(name, Arc::new(topic.clone()));
        self.changed(Response::Topic(topic))
    }

    pub(super) fn delete_topic(&mut self, name: &str) -> Applied {
        if !self.topics.contains_key(name) {
            return Err(MetadataError::TopicNotFound(name.to_owned()));
        }
        let gone = Arc::make_mut(&mut self.topics).remove(name);
        let gone = gone.map(|topic| topic.partitions.clone()).unwrap_or_default();
        for id in &gone {
            self.placements.remove(*id);
        }
        self.changed(Response::Deleted(gone))
    }

    fn number_partitions(&mut self, count: u32) -> Result<Vec<PartitionId>, MetadataError> {
        let wanted = self.placements.len().saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        if wanted > PARTITIONS_MAX {
            return Err(MetadataError::TooManyPartitions { wanted, max: PARTITIONS_MAX });
        }
        let first = self.next_partition;
        self.next_partition += u64::from(count);
        Ok((first..self.next_partition).map(PartitionId::new).collect())
    }

    /// Places the partitions of a topic from the one with number `from` on. While no node is known they get no replicas:
    /// [`Self::adopt`] follows.
    fn place_partitions(&mut self, name: &Arc<str>, topic: &Topic, from: usize, alive: &[NodeId]) {
        let mut spread = Spread::new(&self.nodes, &self.placements, alive);
        let (old, new) = topic.partitions.split_at(from.min(topic.partitions.len()));
        for placement in old.iter().filter_map(|id| self.placements.get(*id)) {
            spread.count(placement);
        }
        for (number, id) in (0..).skip(from).zip(new) {
            let placement = Placement::new(spread.place(*id, topic.replication_factor));
            self.placements.insert(*id, Arc::clone(name), number, placement);
        }
    }
}

fn too_many_replicas(wanted: u32) -> MetadataError {
    let (wanted, max) = (wanted as usize, REPLICATION_FACTOR_MAX as usize);
    MetadataError::TooManyReplicas { wanted, max }
}

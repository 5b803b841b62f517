//! The state.

use crate::command::{Applied, Command, Response};
use crate::limits::{PARTITIONS_MAX, REPLICATION_FACTOR_MAX, REPORT_ENTRIES_MAX};
use crate::nodes::{Nodes, Site};
use crate::placements::{Placements, StoredPlacements};
use crate::producers::Producers;
use crate::spread::Spread;
use crate::{Leading, MetadataError, Node, Placement, SettingsChange, Topic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use varve_api::TopicName;
use varve_record::{NodeId, PartitionId};

/// The cluster's metadata. A clone shares what it can: it costs next to nothing, and a change of the one copies only the
/// table that it touches, not its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Metadata {
    topics: Arc<BTreeMap<Arc<str>, Arc<Topic>>>,
    /// Numbers of partitions are never used twice. 0 is the controller's own.
    next_partition: u64,
    producers: Arc<Producers>,
    nodes: Arc<Nodes>,
    placements: Placements,
    revision: u64,
}

/// The state as it is stored. What later versions added may be missing.
#[derive(Deserialize)]
struct Stored {
    topics: Arc<BTreeMap<Arc<str>, Arc<Topic>>>,
    next_partition: u64,
    producers: Arc<Producers>,
    #[serde(default)]
    nodes: Arc<Nodes>,
    #[serde(default)]
    placements: StoredPlacements,
    #[serde(default)]
    revision: u64,
}

impl From<Stored> for Metadata {
    fn from(stored: Stored) -> Self {
        let Stored { topics, next_partition, producers, nodes, placements, revision } = stored;
        let placements = placements.of_topics(topics.iter().map(|(name, topic)| (name, topic.as_ref())));
        Self { topics, next_partition, producers, nodes, placements, revision }
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            topics: Arc::default(),
            next_partition: 1,
            producers: Arc::default(),
            nodes: Arc::default(),
            placements: Placements::default(),
            revision: 0,
        }
    }
}

impl Metadata {
    /// The partition that carries the metadata itself.
    pub const CONTROLLER: PartitionId = PartitionId::new(0);

    /// Every topic by name, in order.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_ref(), topic.as_ref()))
    }

    /// A topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name).map(Arc::as_ref)
    }

    /// Whether a partition was once given to a topic, and belongs to none any more: its records are no longer wanted.
    #[must_use]
    pub fn was_deleted(&self, id: PartitionId) -> bool {
        let given_out = id != Self::CONTROLLER && id.get() < self.next_partition;
        given_out && !self.placements.contains(id)
    }

    /// The topic of a partition, and its number there.
    #[must_use]
    pub fn partition_name(&self, id: PartitionId) -> Option<(&str, u32)> {
        self.placements.name(id)
    }

    /// Every node, in the order of ids; also those that drain or are lost.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The node of that name that is not lost.
    #[must_use]
    pub fn node_by_name(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name && !node.is_lost())
    }

    /// Whether an id was once given to a node, and the node was taken out of the cluster.
    #[must_use]
    pub fn was_removed(&self, node: NodeId) -> bool {
        self.nodes.was_removed(node)
    }

    /// Where a partition's replicas are; nothing for a partition of no topic, and for the controller's.
    #[must_use]
    pub fn placement(&self, id: PartitionId) -> Option<&Placement> {
        self.placements.get(id)
    }

    /// Where the replicas of every partition are, in the order of ids.
    pub fn placements(&self) -> impl Iterator<Item = (PartitionId, &Placement)> {
        self.placements.iter()
    }

    /// The partitions whose files a node keeps: see [`Placement::hosts`].
    pub fn hosted_by(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Placement)> {
        self.placements.iter().filter(move |(_, placement)| placement.hosts(node))
    }

    /// Partitions of all topics.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.placements.len()
    }

    /// Counts the commands that changed something.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The report of what a node knows and the metadata do not, cut to what one report takes; nothing where there is no news.
    #[must_use]
    pub fn report_of(
        &self,
        node: NodeId,
        leading: impl IntoIterator<Item = Leading>,
        damaged: impl IntoIterator<Item = PartitionId>,
    ) -> Option<Command> {
        let leading = leading.into_iter().filter(|leading| self.placements.is_news(node, leading));
        let damaged = damaged.into_iter().filter(|id| self.placements.is_news_of_damage(node, *id));
        let leading: Vec<_> = leading.take(REPORT_ENTRIES_MAX).collect();
        let damaged: Vec<_> = damaged.take(REPORT_ENTRIES_MAX).collect();
        let news = !leading.is_empty() || !damaged.is_empty();
        news.then_some(Command::Report { node, leading, damaged })
    }

    /// The table of placements.
    pub(crate) fn placement_table(&self) -> &Placements {
        &self.placements
    }

    /// Takes a command over, or refuses it and stays as it was.
    ///
    /// # Errors
    /// The refusal.
    pub fn apply(&mut self, command: &Command) -> Applied {
        match command {
            Command::CreateTopic { topic, partitions, replication_factor, created_ms, settings, alive } => {
                let (replication_factor, created_ms) = (*replication_factor, *created_ms);
                let settings = settings.clone();
                let new = Topic { partitions: Vec::new(), replication_factor, created_ms, settings };
                self.create_topic(topic, *partitions, new, alive)
            }
            Command::AlterTopic { topic, partitions, settings, alive } => {
                self.alter_topic(topic, *partitions, settings, alive)
            }
            Command::DeleteTopic { topic } => self.delete_topic(topic),
            Command::InitProducer { name } => {
                let identity = Arc::make_mut(&mut self.producers).init(name)?;
                self.changed(Response::Producer(identity))
            }
            Command::AllocateProducerIds { count } => {
                let first = Arc::make_mut(&mut self.producers).allocate(*count)?;
                self.changed(Response::ProducerIds(first))
            }
            Command::RegisterNode { name, rpc_addr, gossip_addr, rack } => {
                self.register_node(name, Site { rpc_addr, gossip_addr, rack })
            }
            Command::UpdateNode { node, rpc_addr, gossip_addr, rack } => {
                self.put_node(self.nodes.updated(*node, Site { rpc_addr, gossip_addr, rack })?)
            }
            Command::DrainNode { node, drain } => self.put_node(self.nodes.drained(*node, *drain)?),
            Command::LoseNode { node } => self.put_node(self.nodes.lost(*node)?),
            Command::RemoveNode { node } => self.remove_node(*node),
            Command::PlaceReplicas { partition, replicas, generation } => {
                self.place_replicas(*partition, replicas, *generation)
            }
            Command::Report { node, leading, damaged } => self.report(*node, leading, damaged),
        }
    }

    fn changed(&mut self, response: Response) -> Applied {
        self.revision += 1;
        Ok(response)
    }

    fn create_topic(&mut self, name: &str, partitions: u32, new: Topic, alive: &[NodeId]) -> Applied {
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

    fn alter_topic(
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

    fn delete_topic(&mut self, name: &str) -> Applied {
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

    fn register_node(&mut self, name: &str, site: Site<'_>) -> Applied {
        let first = self.nodes.is_untouched();
        let node = Arc::make_mut(&mut self.nodes).register(name, site)?;
        if first {
            self.adopt(node.id);
        }
        self.changed(Response::Node(node))
    }

    /// Gives the partitions from before there were nodes to the first one: only the node that kept this log alone can hold
    /// them, and nobody else can register before it.
    fn adopt(&mut self, node: NodeId) {
        let without =
            |(id, placement): (PartitionId, &Placement)| placement.replicas.is_empty().then_some(id);
        let ids: Vec<PartitionId> = self.placements.iter().filter_map(without).collect();
        for id in ids {
            self.placements.update(id, |placement| *placement = Placement::new(vec![node]));
        }
    }

    fn put_node(&mut self, node: Node) -> Applied {
        if self.nodes.get(node.id) == Some(&node) {
            return Ok(Response::Node(node));
        }
        Arc::make_mut(&mut self.nodes).put(node.clone());
        self.changed(Response::Node(node))
    }

    fn remove_node(&mut self, node: NodeId) -> Applied {
        self.nodes.check_removable(node)?;
        let replicas = self.placements.load(node).hosted();
        if replicas > 0 {
            return Err(MetadataError::NodeInUse { node, replicas });
        }
        Arc::make_mut(&mut self.nodes).remove(node);
        self.changed(Response::Done)
    }

    fn place_replicas(&mut self, id: PartitionId, replicas: &[NodeId], generation: u64) -> Applied {
        let placement = self.placements.get(id).ok_or(MetadataError::PartitionNotFound(id))?;
        let current = placement.generation;
        if generation != current {
            return Err(MetadataError::StaleGeneration { partition: id, generation, current });
        }
        self.check_replicas(id, placement, replicas)?;
        if placement.replicas == replicas {
            return Ok(Response::Placement(placement.clone()));
        }
        let placed = self.placements.update(id, |placement| {
            placement.replace(replicas);
            placement.clone()
        });
        self.changed(placed.map_or(Response::Done, Response::Placement))
    }

    fn check_replicas(
        &self,
        id: PartitionId,
        placement: &Placement,
        replicas: &[NodeId],
    ) -> Result<(), MetadataError> {
        if replicas.is_empty() {
            return Err(MetadataError::Zero("replica"));
        }
        let max = REPLICATION_FACTOR_MAX as usize;
        if replicas.len() > max {
            return Err(MetadataError::TooManyReplicas { wanted: replicas.len(), max });
        }
        let mut seen = BTreeSet::new();
        for node in replicas {
            if !seen.insert(*node) {
                return Err(MetadataError::ReplicaTwice { partition: id, node: *node });
            }
            if placement.replicas.contains(node) {
                continue;
            }
            // A change that cannot come to its end is taken back: to nodes that drain, too, if they are members still.
            if !self.nodes.living(*node)?.is_active() && !placement.leaving.contains(node) {
                return Err(MetadataError::NodeDraining(*node));
            }
        }
        Ok(())
    }

    fn report(&mut self, node: NodeId, leading: &[Leading], damaged: &[PartitionId]) -> Applied {
        self.nodes.living(node)?;
        for entries in [leading.len(), damaged.len()] {
            if entries > REPORT_ENTRIES_MAX {
                return Err(MetadataError::ReportTooLong { entries, max: REPORT_ENTRIES_MAX });
            }
        }
        let led = leading.iter().filter(|leading| self.placements.report_leading(node, leading)).count();
        let hurt = damaged.iter().filter(|id| self.placements.report_damaged(node, **id)).count();
        if led + hurt == 0 {
            return Ok(Response::Done);
        }
        self.changed(Response::Done)
    }
}

fn too_many_replicas(wanted: u32) -> MetadataError {
    let (wanted, max) = (wanted as usize, REPLICATION_FACTOR_MAX as usize);
    MetadataError::TooManyReplicas { wanted, max }
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
            alive: Vec::new(),
        }
    }

    fn alter(name: &str, partitions: u32) -> Command {
        let settings = SettingsChange::default();
        Command::AlterTopic {
            topic: name.to_owned(),
            partitions: Some(partitions),
            settings,
            alive: Vec::new(),
        }
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
                .apply(&Command::AlterTopic {
                    topic: "a".to_owned(),
                    partitions: None,
                    settings,
                    alive: Vec::new(),
                })
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

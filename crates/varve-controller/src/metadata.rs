//! The state.

mod nodes;
mod replicas;
mod topics;

use crate::command::{Applied, Command, Response};
use crate::nodes::{Nodes, Site};
use crate::placements::{Placements, StoredPlacements};
use crate::producers::Producers;
use crate::{Node, Placement, Topic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
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

    /// Whether names of producers have ever been given to subjects: then every node knows how.
    #[must_use]
    pub fn producers_are_owned(&self) -> bool {
        self.producers.are_owned()
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

    /// The highest id that was ever given to a node.
    #[must_use]
    pub fn last_node_id(&self) -> Option<NodeId> {
        self.nodes.last_id()
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
            Command::ClaimProducer { name, subject, take_over } => {
                let identity = Arc::make_mut(&mut self.producers).claim(name, subject, *take_over)?;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SettingsChange, TopicSettings};
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
        let (name, subject) = ("q".to_owned(), "alice".to_owned());
        metadata.apply(&Command::ClaimProducer { name, subject, take_over: false }).unwrap();
        let json = serde_json::to_string(&metadata).unwrap();
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    }
}

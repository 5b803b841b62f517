//! A topic.

use crate::{TopicSettings, number};
use serde::{Deserialize, Serialize};
use varve_record::{PartitionId, Timestamp};

/// A topic: its partitions in order, and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Partition 0, 1, 2 and so on of the topic, by their numbers in the cluster.
    #[serde(with = "number::list")]
    pub partitions: Vec<PartitionId>,
    /// Replicas that each partition wants; it runs on fewer while the cluster has fewer nodes.
    pub replication_factor: u32,
    /// When it was made, by the clock of the node that was asked.
    #[serde(with = "number")]
    pub created_ms: Timestamp,
    /// Its settings.
    #[serde(default)]
    pub settings: TopicSettings,
}

//! What a seed decides before anything runs.

use super::journal::Place;
use varve_env::{Entropy, SeededEntropy};

/// One cluster in so many has five nodes; the others have three.
const FIVE_NODES_ONE_IN: u64 = 6;

/// One cluster of three in so many grows while it runs.
const GROWS_ONE_IN: u64 = 4;

/// Every so many seeds the cluster is secured.
const SECURED_EVERY: u64 = 3;

/// A topic of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) partitions: u32,
    /// Small, so that a run goes through many segments.
    pub(super) segment_bytes: u64,
}

/// The shape of a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Nodes that make the cluster.
    pub(super) nodes: usize,
    /// Nodes that join it in the midst of trouble.
    pub(super) late_nodes: usize,
    /// Whether all speak TLS, and a policy says who may do what.
    pub(super) is_secured: bool,
    pub(super) topics: Vec<Topic>,
    /// How long there is trouble, in simulated milliseconds.
    pub(super) trouble_ms: u64,
    /// How long a message takes at most while all is well, in milliseconds.
    pub(super) latency_ms_max: u64,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed ^ 0x0070_6C61_6E00);
        let nodes = if entropy.below(FIVE_NODES_ONE_IN) == 0 { 5 } else { 3 };
        let grows = nodes == 3 && entropy.below(GROWS_ONE_IN) == 0;
        let late_nodes = if grows { 1 + usize::try_from(entropy.below(2)).unwrap_or(0) } else { 0 };
        let segment_bytes = varve_storage::SEGMENT_BYTES_MIN.max((16 * 1024) << entropy.below(4));
        let topics = vec![
            Topic { name: "events", partitions: 2, segment_bytes },
            Topic { name: "audit", partitions: 1, segment_bytes },
        ];
        let is_secured = seed.is_multiple_of(SECURED_EVERY);
        let trouble_ms = 8_000 + entropy.below(8_000);
        Self { nodes, late_nodes, is_secured, topics, trouble_ms, latency_ms_max: 1 + entropy.below(8) }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.topics
            .iter()
            .flat_map(|topic| (0..topic.partitions).map(|partition| Place { topic: topic.name, partition }))
    }

    /// Nodes that there are in the end.
    pub(super) fn nodes_in_the_end(&self) -> usize {
        self.nodes + self.late_nodes
    }

    /// The address that clients are given.
    pub(super) fn address(&self) -> String {
        let nodes: Vec<_> = (1..=self.nodes).map(|number| format!("{}:{PORT}", name_of(number))).collect();
        format!("varve://{}", nodes.join(","))
    }
}

/// Where every node serves.
pub(super) const PORT: u16 = 8400;

/// The name of a node, which is also its host's.
pub(super) fn name_of(number: usize) -> String {
    format!("node-{number}")
}

//! The table of placements.

use crate::{Leading, Placement, Topic, number};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;
use varve_record::{NodeId, PartitionId};

/// The placements by partition, with what is counted over them. A clone shares all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placements {
    by_id: Arc<BTreeMap<PartitionId, Placed>>,
    loads: Arc<BTreeMap<NodeId, Load>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    topic: Arc<str>,
    number: u32,
    placement: Arc<Placement>,
}

/// What a node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Replicas that are wanted there.
    pub(crate) replicas: usize,
    /// Replicas that shall lead.
    pub(crate) preferred: usize,
    /// Replicas that are not known to be out of their groups.
    pub(crate) leaving: usize,
}

impl Load {
    /// Partitions whose files the node keeps.
    pub(crate) fn hosted(&self) -> usize {
        self.replicas + self.leaving
    }
}

impl Placements {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: PartitionId) -> Option<&Placement> {
        self.by_id.get(&id).map(|placed| placed.placement.as_ref())
    }

    pub(crate) fn contains(&self, id: PartitionId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The topic of a partition, and its number there.
    pub(crate) fn name(&self, id: PartitionId) -> Option<(&str, u32)> {
        self.by_id.get(&id).map(|placed| (placed.topic.as_ref(), placed.number))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PartitionId, &Placement)> {
        self.by_id.iter().map(|(id, placed)| (*id, placed.placement.as_ref()))
    }

    pub(crate) fn load(&self, node: NodeId) -> Load {
        self.loads.get(&node).copied().unwrap_or_default()
    }

    pub(crate) fn insert(&mut self, id: PartitionId, topic: Arc<str>, number: u32, placement: Placement) {
        let placed = Placed { topic, number, placement: Arc::new(placement) };
        self.count(&placed.placement, 1);
        if let Some(before) = Arc::make_mut(&mut self.by_id).insert(id, placed) {
            self.count(&before.placement, -1);
        }
    }

    pub(crate) fn remove(&mut self, id: PartitionId) {
        if let Some(before) = Arc::make_mut(&mut self.by_id).remove(&id) {
            self.count(&before.placement, -1);
        }
    }

    /// Changes a placement. Call it only where there is something to change: shared parts are copied for it.
    pub(crate) fn update<R>(
        &mut self,
        id: PartitionId,
        change: impl FnOnce(&mut Placement) -> R,
    ) -> Option<R> {
        let placed = Arc::make_mut(&mut self.by_id).get_mut(&id)?;
        let before = Arc::clone(&placed.placement);
        let answer = change(Arc::make_mut(&mut placed.placement));
        let after = Arc::clone(&placed.placement);
        if (&before.replicas, &before.leaving) != (&after.replicas, &after.leaving) {
            self.count(&before, -1);
            self.count(&after, 1);
        }
        Some(answer)
    }

    /// Takes over what a leader says, and whether that is news.
    pub(crate) fn report_leading(&mut self, node: NodeId, leading: &Leading) -> bool {
        if !self.is_news(node, leading) {
            return false;
        }
        let change = |placement: &mut Placement| {
            if placement.is_led_anew(leading) {
                (placement.leader, placement.term) = (Some(node), leading.term);
            }
            if placement.is_settled_by(leading) {
                placement.settle();
            }
        };
        self.update(leading.partition, change).is_some()
    }

    /// Whether what a leader says is not known yet. Nodes that have no replica say nothing that counts.
    fn is_news(&self, node: NodeId, leading: &Leading) -> bool {
        let placement = self.get(leading.partition).filter(|placement| placement.hosts(node));
        placement.is_some_and(|placement| placement.is_led_anew(leading) || placement.is_settled_by(leading))
    }

    /// Takes over that a node's copy is damaged, and whether that is news.
    pub(crate) fn report_damaged(&mut self, node: NodeId, id: PartitionId) -> bool {
        let is_news = |placement: &Placement| placement.hosts(node) && !placement.damaged.contains(&node);
        self.get(id).is_some_and(is_news)
            && self.update(id, |placement| placement.damaged.insert(node)).is_some()
    }

    fn count(&mut self, placement: &Placement, by: isize) {
        let loads = Arc::make_mut(&mut self.loads);
        for (place, node) in placement.replicas.iter().enumerate() {
            let load = loads.entry(*node).or_default();
            load.replicas = load.replicas.saturating_add_signed(by);
            if place == 0 {
                load.preferred = load.preferred.saturating_add_signed(by);
            }
        }
        for node in &placement.leaving {
            let load = loads.entry(*node).or_default();
            load.leaving = load.leaving.saturating_add_signed(by);
        }
        // The counts of an equal state are equal, however it came about.
        for node in placement.hosting() {
            if loads.get(&node) == Some(&Load::default()) {
                loads.remove(&node);
            }
        }
    }
}

/// Placements as they are stored: names and counts follow from the topics.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredPlacements(#[serde(with = "number::map")] BTreeMap<PartitionId, Placement>);

impl StoredPlacements {
    /// The table for the partitions of `topics`. A partition that was stored without a placement gets an empty one, and a
    /// placement of no topic is left out.
    pub(crate) fn of_topics<'a>(
        mut self,
        topics: impl Iterator<Item = (&'a Arc<str>, &'a Topic)>,
    ) -> Placements {
        let mut placements = Placements::default();
        for (name, topic) in topics {
            for (number, id) in (0..).zip(&topic.partitions) {
                let placement = self.0.remove(id).unwrap_or_default();
                placements.insert(*id, Arc::clone(name), number, placement);
            }
        }
        placements
    }
}

impl Serialize for Placements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(id, placement)| (id.get(), placement)))
    }
}

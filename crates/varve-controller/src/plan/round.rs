//! One round of planning.

use super::seats::Seats;
use crate::limits::CHANGES_IN_FLIGHT_MAX;
use crate::{Command, Liveness, Metadata, Placement};
use std::collections::BTreeSet;
use varve_record::{NodeId, PartitionId};

/// One round of planning: what is, and what was planned so far.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) parts: Vec<Part<'a>>,
    pub(super) seats: Seats<'a>,
    pub(super) commands: Vec<Command>,
    planned: BTreeSet<PartitionId>,
    /// Changes that may still be planned.
    room: usize,
}

/// A partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) id: PartitionId,
    /// Counts the topics.
    pub(super) topic: usize,
    pub(super) factor: u32,
    pub(super) placement: &'a Placement,
}

impl<'a> Round<'a> {
    pub(super) fn new(metadata: &'a Metadata, liveness: &Liveness) -> Self {
        let seats = Seats::new(metadata, liveness);
        let mut parts = Vec::with_capacity(metadata.partition_count());
        for (number, (_, topic)) in metadata.topics().enumerate() {
            let placed = topic.partitions.iter().filter_map(|id| Some((*id, metadata.placement(*id)?)));
            let factor = topic.replication_factor;
            parts.extend(placed.map(|(id, placement)| Part { id, topic: number, factor, placement }));
        }
        // What waits for a node that does not run copies nothing, and must not keep the others waiting.
        let moves = |part: &&Part<'_>| {
            !part.placement.is_settled() && part.placement.replicas.iter().all(|id| seats.runs(*id))
        };
        let room = CHANGES_IN_FLIGHT_MAX.saturating_sub(parts.iter().filter(moves).count());
        Self { parts, seats, commands: Vec::new(), planned: BTreeSet::new(), room }
    }

    pub(super) fn has_room(&self) -> bool {
        self.room > 0
    }

    pub(super) fn is_planned(&self, part: &Part<'_>) -> bool {
        self.planned.contains(&part.id)
    }

    /// Plans other replicas for a partition.
    pub(super) fn place(&mut self, part: &Part<'_>, replicas: Vec<NodeId>) {
        self.seats.moved(&part.placement.replicas, &replicas);
        self.planned.insert(part.id);
        self.room = self.room.saturating_sub(1);
        let generation = part.placement.generation;
        self.commands.push(Command::PlaceReplicas { partition: part.id, replicas, generation });
    }

    /// Goes over all partitions while there is room, and plans what `wanted` gives for them.
    pub(super) fn place_each(&mut self, wanted: impl Fn(&Self, &Part<'a>) -> Option<Vec<NodeId>>) {
        for place in 0..self.parts.len() {
            if !self.has_room() {
                return;
            }
            let part = self.parts[place];
            if self.is_planned(&part) {
                continue;
            }
            if let Some(replicas) = wanted(self, &part) {
                self.place(&part, replicas);
            }
        }
    }

    /// Whether a node's copy of a partition can be counted on: it runs and is not damaged.
    pub(super) fn is_sound(&self, part: &Part<'_>, id: NodeId) -> bool {
        self.seats.runs(id) && !part.placement.damaged.contains(&id)
    }

    /// Whether a majority of `replicas` can be counted on.
    pub(super) fn has_quorum(&self, part: &Part<'_>, replicas: &[NodeId]) -> bool {
        let sound = replicas.iter().filter(|id| self.is_sound(part, **id)).count();
        sound * 2 > replicas.len()
    }

    /// Whether nothing is wrong with a partition, so that it may be moved for the sake of balance.
    pub(super) fn is_at_rest(&self, part: &Part<'_>) -> bool {
        let well = |id: &NodeId| self.seats.takes(*id) && self.is_sound(part, *id);
        part.placement.is_settled()
            && !part.placement.replicas.is_empty()
            && part.placement.replicas.iter().all(well)
    }
}

/// `replicas` with `to` in the place of `from`.
pub(super) fn swapped(replicas: &[NodeId], from: NodeId, to: NodeId) -> Vec<NodeId> {
    replicas.iter().map(|id| if *id == from { to } else { *id }).collect()
}

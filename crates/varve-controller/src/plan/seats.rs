//! The nodes, as the planner sees them.

use crate::placements::Load;
use crate::spread::rotated;
use crate::{Liveness, Metadata, Node, NodeState};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use varve_record::{NodeId, PartitionId};

/// A node, with what it will hold after what is planned.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub(super) node: &'a Node,
    pub(super) alive: bool,
    pub(super) gone: bool,
    pub(super) load: Load,
}

/// Every node of the cluster.
#[derive(Debug)]
pub(super) struct Seats<'a> {
    seats: Vec<Seat<'a>>,
    places: BTreeMap<NodeId, usize>,
    /// The racks of those that take replicas now.
    racks: BTreeSet<&'a str>,
}

impl Seat<'_> {
    /// Whether new replicas may be put there now.
    pub(super) fn takes(&self) -> bool {
        self.alive && self.node.is_active()
    }
}

impl<'a> Seats<'a> {
    pub(super) fn new(metadata: &'a Metadata, liveness: &Liveness) -> Self {
        let seats = metadata.nodes().map(|node| Seat {
            node,
            alive: liveness.is_alive(node.id) && !node.is_lost(),
            gone: liveness.is_gone(node.id),
            load: metadata.placement_table().load(node.id),
        });
        let seats: Vec<_> = seats.collect();
        let places = seats.iter().enumerate().map(|(place, seat)| (seat.node.id, place)).collect();
        let taking = seats.iter().filter(|seat| seat.takes());
        let racks = taking.map(|seat| seat.node.rack.as_str()).collect();
        Self { seats, places, racks }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Seat<'a>> {
        self.places.get(&id).map(|place| &self.seats[*place])
    }

    /// Those that take replicas now.
    pub(super) fn taking(&self) -> impl Iterator<Item = &Seat<'a>> {
        self.seats.iter().filter(|seat| seat.takes())
    }

    /// Nodes that take replicas, or may do so again before long, without those whose copy is `damaged`.
    pub(super) fn present(&self, damaged: &BTreeSet<NodeId>) -> usize {
        let present = self.seats.iter().filter(|seat| seat.node.is_active() && !seat.gone);
        present.filter(|seat| !damaged.contains(&seat.node.id)).count()
    }

    pub(super) fn runs(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|seat| seat.alive)
    }

    pub(super) fn state(&self, id: NodeId) -> NodeState {
        self.get(id).map_or(NodeState::Lost, |seat| seat.node.state)
    }

    pub(super) fn takes(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(Seat::takes)
    }

    fn rack(&self, id: NodeId) -> Option<&'a str> {
        self.get(id).map(|seat| seat.node.rack.as_str())
    }

    /// How many of `replicas` share a rack with a node.
    pub(super) fn in_rack_of(&self, id: NodeId, replicas: &[NodeId]) -> usize {
        let rack = self.rack(id);
        replicas.iter().filter(|other| self.rack(**other) == rack).count()
    }

    /// Whether there is more than one rack.
    pub(super) fn has_racks(&self) -> bool {
        self.racks.len() > 1
    }

    /// The fewest of `replicas` that any rack has.
    pub(super) fn emptiest_rack(&self, replicas: &[NodeId]) -> Option<usize> {
        let used = self.racks_of(replicas);
        let share = |rack: &&str| used.iter().filter(|other| *other == rack).count();
        // Few replicas cannot fill many racks.
        if used.len() < self.racks.len() { Some(0) } else { self.racks.iter().map(share).min() }
    }

    pub(super) fn share_rack(&self, one: NodeId, other: NodeId) -> bool {
        self.rack(one) == self.rack(other)
    }

    /// Counts another place for a partition's replicas.
    pub(super) fn moved(&mut self, from: &[NodeId], to: &[NodeId]) {
        for (replicas, by) in [(from, -1), (to, 1)] {
            for (place, id) in replicas.iter().enumerate() {
                let Some(seat) = self.places.get(id).map(|place| &mut self.seats[*place]) else { continue };
                seat.load.replicas = seat.load.replicas.saturating_add_signed(by);
                if place == 0 {
                    seat.load.preferred = seat.load.preferred.saturating_add_signed(by);
                }
            }
        }
    }

    /// The best node for another replica beside `kept`, among those that take one and are `fit`: in a rack with few of them,
    /// and with few replicas. One that has the data still (it is `leaving`) comes before all others.
    pub(super) fn pick(
        &self,
        partition: PartitionId,
        kept: &[NodeId],
        leaving: &[NodeId],
        fit: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let racks = self.racks_of(kept);
        let free = self.seats.iter().enumerate().filter(|(_, seat)| {
            let id = seat.node.id;
            seat.takes() && !kept.contains(&id) && fit(id)
        });
        let best = free.min_by_key(|(place, seat)| {
            let in_rack = racks.iter().filter(|rack| **rack == seat.node.rack).count();
            let turn = rotated(partition, *place, self.seats.len());
            (!leaving.contains(&seat.node.id), in_rack, seat.load.replicas, turn)
        });
        best.map(|(_, seat)| seat.node.id)
    }

    fn racks_of(&self, replicas: &[NodeId]) -> Vec<&'a str> {
        replicas.iter().filter_map(|id| self.rack(*id)).collect()
    }

    /// Those that take replicas now, by how many they have: the most first.
    pub(super) fn by_load(&self) -> Vec<(usize, NodeId)> {
        let mut loads: Vec<_> = self.taking().map(|seat| (seat.load.replicas, seat.node.id)).collect();
        loads.sort_by_key(|(replicas, id)| (Reverse(*replicas), *id));
        loads
    }
}

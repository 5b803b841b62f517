//! Partitions that share a rack more than they must.

use super::round::{Part, Round, swapped};
use std::cmp::Reverse;
use varve_record::NodeId;

impl Round<'_> {
    pub(super) fn spread_over_racks(&mut self) {
        if self.seats.has_racks() {
            self.place_each(Self::wider);
        }
    }

    /// A replica of the fullest rack goes to the emptiest one where that makes a difference, so that the sum of the squares of
    /// the racks' shares strictly falls.
    fn wider(&self, part: &Part<'_>) -> Option<Vec<NodeId>> {
        if !self.is_at_rest(part) {
            return None;
        }
        let before = &part.placement.replicas;
        // Nearly always there is nothing to gain, and the racks tell so without a look at the nodes.
        let fullest = before.iter().map(|id| self.seats.in_rack_of(*id, before)).max()?;
        if self.seats.emptiest_rack(before)? + 2 > fullest {
            return None;
        }
        let from = before.iter().copied().max_by_key(|id| {
            let replicas = self.seats.get(*id).map_or(0, |seat| seat.load.replicas);
            (self.seats.in_rack_of(*id, before), replicas, Reverse(*id))
        })?;
        let kept: Vec<NodeId> = before.iter().copied().filter(|id| *id != from).collect();
        let to = self.seats.pick(part.id, &kept, &[], |id| id != from)?;
        let gain = self.seats.in_rack_of(from, before) >= self.seats.in_rack_of(to, before) + 2;
        gain.then(|| swapped(before, from, to))
    }
}

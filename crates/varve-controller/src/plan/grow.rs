//! Partitions with fewer replicas than they want.

use super::round::{Part, Round};
use crate::spread::replicas_wanted;
use varve_record::NodeId;

impl Round<'_> {
    pub(super) fn grow(&mut self) {
        self.place_each(Self::grown);
    }

    /// All that are missing come in by one change, so that no partition rests at an even number on the way.
    fn grown(&self, part: &Part<'_>) -> Option<Vec<NodeId>> {
        let placement = part.placement;
        let before = &placement.replicas;
        if before.len() >= part.factor as usize
            || !placement.is_settled()
            || !placement.damaged.is_empty()
            || !self.has_quorum(part, before)
        {
            return None;
        }
        let stay = before.iter().filter(|id| self.seats.get(**id).is_some_and(|seat| seat.node.is_active()));
        let free = self.seats.taking().filter(|seat| !before.contains(&seat.node.id));
        let wanted = replicas_wanted(part.factor, stay.count() + free.count());
        let mut replicas = before.clone();
        while replicas.len() < wanted {
            let more = self.seats.pick(part.id, &replicas, &[], |_| true)?;
            replicas.push(more);
        }
        (replicas.len() > before.len()).then_some(replicas)
    }
}

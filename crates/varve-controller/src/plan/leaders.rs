//! Nodes that shall lead more partitions than others.

use super::round::{Part, Round};
use varve_record::NodeId;

/// The share of a node's leaderships, on average, by which it may have more than another: one in so many.
const SLACK_SHARE: usize = 20;

impl Round<'_> {
    /// Makes a replica the preferred leader whose node has at least two leaderships fewer, so that the sum of the squares of
    /// the leaderships strictly falls.
    pub(super) fn spread_leaders(&mut self) {
        let leaderships: usize = self.seats.taking().map(|seat| seat.load.preferred).sum();
        let mean = leaderships / self.seats.taking().count().max(1);
        let slack = (mean / SLACK_SHARE).max(1);
        self.place_each(|round, part| round.led_elsewhere(part, slack));
    }

    fn led_elsewhere(&self, part: &Part<'_>, slack: usize) -> Option<Vec<NodeId>> {
        if !self.is_at_rest(part) {
            return None;
        }
        let mut replicas = part.placement.replicas.clone();
        let led = |id: &NodeId| self.seats.get(*id).map_or(0, |seat| seat.load.preferred);
        let place = (0..replicas.len()).min_by_key(|place| led(&replicas[*place]))?;
        if led(&replicas[0]) <= led(&replicas[place]) + slack {
            return None;
        }
        replicas.swap(0, place);
        Some(replicas)
    }
}

//! Nodes with more replicas than others.

use super::round::{Round, swapped};
use std::collections::BTreeMap;
use varve_record::NodeId;

/// Replicas that a node may have more than another before any move: a move copies a partition.
const SLACK_MIN: usize = 2;

/// The slack grows with the replicas of a node on average: a share of one in so many.
const SLACK_SHARE: usize = 20;

/// Partitions that are looked at in one round. Where racks forbid most moves a whole search would take too long.
const TRIES_MAX: usize = 200_000;

/// What a round of balancing knows beside the loads.
struct Held {
    /// The partitions of each node that may move, by their places in the round.
    by_node: BTreeMap<NodeId, Vec<usize>>,
    /// Replicas of a topic on a node.
    of_topic: BTreeMap<(usize, NodeId), usize>,
    tries: usize,
}

struct Move {
    part: usize,
    from: NodeId,
    to: NodeId,
}

impl Round<'_> {
    /// Moves replicas to nodes that have at least two fewer, so that the sum of the squares of the loads strictly falls.
    pub(super) fn balance(&mut self) {
        if !self.has_room() || !self.is_uneven() {
            return;
        }
        let mut held = self.held();
        while self.has_room() {
            let Some(Move { part, from, to }) = self.next_move(&mut held) else { return };
            let part = self.parts[part];
            for (node, by) in [(from, -1), (to, 1)] {
                let count = held.of_topic.entry((part.topic, node)).or_default();
                *count = count.saturating_add_signed(by);
            }
            self.place(&part, swapped(&part.placement.replicas, from, to));
        }
    }

    fn is_uneven(&self) -> bool {
        let loads = self.seats.by_load();
        match (loads.first(), loads.last()) {
            (Some((most, _)), Some((least, _))) => most - least > slack(&loads),
            _ => false,
        }
    }

    fn held(&self) -> Held {
        let mut held = Held { by_node: BTreeMap::new(), of_topic: BTreeMap::new(), tries: TRIES_MAX };
        for (place, part) in self.parts.iter().enumerate() {
            let may_move = !self.is_planned(part) && self.is_at_rest(part);
            for id in &part.placement.replicas {
                *held.of_topic.entry((part.topic, *id)).or_default() += 1;
                if may_move {
                    held.by_node.entry(*id).or_default().push(place);
                }
            }
        }
        held
    }

    /// A move from a node with as many replicas as possible to one with as few as possible.
    fn next_move(&self, held: &mut Held) -> Option<Move> {
        let loads = self.seats.by_load();
        let slack = slack(&loads);
        for (most, from) in &loads {
            for (_, to) in loads.iter().rev().take_while(|(least, _)| *most > least + slack) {
                if held.tries == 0 {
                    return None;
                }
                if let Some(part) = self.best_part(held, *from, *to) {
                    return Some(Move { part, from: *from, to: *to });
                }
            }
        }
        None
    }

    /// The partition to move between two nodes: of the topic that has the most replicas on the one in comparison with the
    /// other, so that the load of each topic is spread too.
    fn best_part(&self, held: &mut Held, from: NodeId, to: NodeId) -> Option<usize> {
        let parts = held.by_node.get(&from)?;
        held.tries = held.tries.saturating_sub(parts.len());
        let on = |topic, node| held.of_topic.get(&(topic, node)).copied().unwrap_or(0);
        let may_move = |place: &&usize| {
            let part = &self.parts[**place];
            let replicas = &part.placement.replicas;
            !self.is_planned(part) && !replicas.contains(&to) && self.keeps_racks(replicas, from, to)
        };
        let best = parts.iter().filter(may_move).min_by_key(|place| {
            let topic = self.parts[**place].topic;
            on(topic, to) as i64 - on(topic, from) as i64
        });
        best.copied()
    }

    /// Whether a move leaves the partition spread over racks at least as well as it was.
    fn keeps_racks(&self, replicas: &[NodeId], from: NodeId, to: NodeId) -> bool {
        let others = self.seats.in_rack_of(to, replicas);
        self.seats.share_rack(from, to) || others < self.seats.in_rack_of(from, replicas)
    }
}

fn slack(loads: &[(usize, NodeId)]) -> usize {
    let all: usize = loads.iter().map(|(replicas, _)| replicas).sum();
    (all / loads.len().max(1) / SLACK_SHARE).max(SLACK_MIN)
}

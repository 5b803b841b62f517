//! Which leaderships a node hands over.

use crate::limits::LEADER_MOVES_MAX;
use crate::{Liveness, Metadata, Node, Placement};
use varve_record::{NodeId, PartitionId};

/// A leadership to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderMove {
    /// The partition.
    pub partition: PartitionId,
    /// The node that shall lead it.
    pub to: NodeId,
}

/// The leaderships that `node` shall hand over, [`LEADER_MOVES_MAX`] at most: to the preferred leader where another node is
/// that, and to any sound replica where `node` drains or its copy is damaged.
///
/// Whether a replica has caught up is not known here: hand over only to one that has. Partitions whose members are changing
/// are left alone.
#[must_use]
pub fn leader_moves(metadata: &Metadata, node: NodeId, liveness: &Liveness) -> Vec<LeaderMove> {
    let leads = metadata.placements().filter(|(_, placement)| placement.leader == Some(node));
    let moves = leads.filter_map(|(partition, placement)| {
        let to = successor(metadata, node, liveness, placement)?;
        Some(LeaderMove { partition, to })
    });
    moves.take(LEADER_MOVES_MAX).collect()
}

fn successor(
    metadata: &Metadata,
    leader: NodeId,
    liveness: &Liveness,
    placement: &Placement,
) -> Option<NodeId> {
    let may_lead = |id: &NodeId| {
        let takes = metadata.node(*id).is_some_and(Node::is_active);
        takes && !placement.damaged.contains(id)
    };
    let can_take = |id: &NodeId| *id != leader && liveness.is_alive(*id) && may_lead(id);
    if !placement.is_settled() || placement.preferred_leader() == Some(leader) && may_lead(&leader) {
        return None;
    }
    let preferred = placement.preferred_leader().filter(can_take);
    let leader_may_stay = placement.replicas.contains(&leader) && may_lead(&leader);
    if leader_may_stay { preferred } else { placement.replicas.iter().copied().find(can_take) }
}

//! What is to be done about the nodes, and about where replicas are.

mod balance;
mod grow;
mod leaders;
mod racks;
mod repair;
mod round;
mod seats;

use crate::{Command, Liveness, Metadata};
use round::Round;
use std::collections::BTreeSet;
use varve_record::NodeId;

/// The commands that bring the cluster nearer to what is wanted, none where it is as near as it can be; `voters` are those
/// of the controller's own group.
///
/// In this order, while no more than [`CHANGES_IN_FLIGHT_MAX`](crate::CHANGES_IN_FLIGHT_MAX) partitions change their members
/// at the same time:
/// 1. nodes that are draining or lost, hold nothing and do not vote are removed;
/// 2. replicas move off nodes that are lost, gone or draining, and damaged ones are taken out;
/// 3. partitions grow to the replicas that their topic wants;
/// 4. replicas move to racks that the partition is not in;
/// 5. replicas move from nodes that have many to nodes that have few;
/// 6. preferred leaders are spread.
///
/// A partition changes only while a majority of its replicas is sound and runs, and only when its last change has settled.
/// The exception is a change that waits for a replica that will not come (its node is lost or gone, or its copy is damaged):
/// it would wait for ever, so it is led elsewhere or taken back while somebody leads the group.
///
/// No change takes out more replicas than the group can lose, and at least one. A replica on a failed node goes only where
/// another node takes its place, as the node may come back; and a sound copy is never thrown away to make a number odd.
///
/// Each of the steps 4 to 6 makes its own imbalance strictly smaller and none of those before it larger, so that repeated
/// rounds come to an end.
#[must_use]
pub fn plan(metadata: &Metadata, liveness: &Liveness, voters: &BTreeSet<NodeId>) -> Vec<Command> {
    let mut commands = removals(metadata, voters);
    let mut round = Round::new(metadata, liveness);
    round.repair();
    round.grow();
    round.spread_over_racks();
    round.balance();
    round.spread_leaders();
    commands.append(&mut round.commands);
    commands
}

fn removals(metadata: &Metadata, voters: &BTreeSet<NodeId>) -> Vec<Command> {
    let placements = metadata.placement_table();
    let leaves = metadata.nodes().filter(|node| !node.is_active());
    let done = leaves.filter(|node| placements.load(node.id).hosted() == 0 && !voters.contains(&node.id));
    done.map(|node| Command::RemoveNode { node: node.id }).collect()
}

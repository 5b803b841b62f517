//! Who votes in the controller's group.

use crate::world::{World, id, set};
use std::collections::BTreeSet;
use varve_controller::{Command, controller_voters};
use varve_record::NodeId;

fn voters(world: &World, current: &[u64]) -> Option<BTreeSet<NodeId>> {
    controller_voters(&world.metadata, &world.live, &set(current))
}

#[test]
fn seats_are_added_two_at_a_time() {
    let grown = |nodes, current: &[u64]| voters(&World::of_nodes(nodes), current);
    assert_eq!(grown(1, &[1]), None);
    assert_eq!(grown(2, &[1]), None);
    assert_eq!(grown(3, &[1]), Some(set(&[1, 2, 3])));
    assert_eq!(grown(4, &[2, 3, 4]), None);
    assert_eq!(grown(5, &[2, 3, 4]), Some(set(&[1, 2, 3, 4, 5])));
    assert_eq!(grown(7, &[2, 3, 4, 5, 6]), None);
    assert_eq!(grown(7, &[7]), Some(set(&[1, 2, 3, 4, 7])), "in one step where there are enough");
    assert_eq!(grown(4, &[1, 2]), Some(set(&[1, 2, 3])), "an even number never stays");
}

#[test]
fn a_node_that_does_not_run_gets_no_seat() {
    let mut world = World::of_nodes(3);
    world.fail(id(3));
    assert_eq!(voters(&world, &[1]), None);
}

#[test]
fn racks_are_spread() {
    let world = World::of_racks(&["a", "a", "b", "a", "c"]);
    let all = voters(&world, &[1]).unwrap();
    assert_eq!(all.len(), 5);
    let world = World::of_racks(&["a", "a", "b", "c"]);
    assert_eq!(voters(&world, &[1]), Some(set(&[1, 3, 4])));
}

#[test]
fn a_seat_goes_to_another_only_when_its_node_is_gone() {
    let mut world = World::of_nodes(4);
    world.fail(id(2));
    assert_eq!(voters(&world, &[1, 2, 3]), None, "it may come back");
    world.give_up(id(2));
    assert_eq!(voters(&world, &[1, 2, 3]), Some(set(&[1, 3, 4])));
    world.fail(id(4));
    assert_eq!(voters(&world, &[1, 2, 3]), None, "nobody takes the seat");
}

#[test]
fn nodes_that_drain_or_are_lost_give_up_their_seats() {
    let mut world = World::of_nodes(4);
    world.drain(1);
    assert_eq!(voters(&world, &[1, 2, 3]), Some(set(&[2, 3, 4])));
    world.done(Command::LoseNode { node: id(3) });
    assert_eq!(voters(&world, &[1, 2, 3]), Some(set(&[2])), "two are no better than one");
    world.join("n5", "");
    assert_eq!(voters(&world, &[1, 2, 3]), Some(set(&[2, 4, 5])));
}

#[test]
fn a_seat_waits_for_a_node_that_is_about_to_come() {
    let mut world = World::of_nodes(3);
    let new = world.join("n3", "").id;
    world.fail(new);
    assert_eq!(voters(&world, &[1, 2, 3]), None);
    world.revive(new);
    assert_eq!(voters(&world, &[1, 2, 3]), Some(set(&[1, 2, 4])));
    world.give_up(new);
    assert_eq!(voters(&world, &[1, 2, 3]), Some(set(&[1])));
}

#[test]
fn without_a_majority_nothing_changes() {
    let mut world = World::of_nodes(6);
    world.give_up(id(1));
    world.give_up(id(2));
    assert_eq!(voters(&world, &[1, 2, 3]), None);
    assert_eq!(voters(&world, &[]), None);
}

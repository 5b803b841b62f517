//! What the planner does.

use crate::world::{World, create, id, ids, set};
use std::collections::BTreeSet;
use varve_controller::{CHANGES_IN_FLIGHT_MAX, Command, Liveness};
use varve_record::{NodeId, PartitionId};

/// A cluster at rest with one topic.
fn at_rest(nodes: usize, partitions: u32, factor: u32) -> World {
    let mut world = World::of_nodes(nodes);
    world.done(create("t", partitions, factor, &[]));
    world.run();
    world.check_rest();
    world
}

fn replicas(world: &World, partition: u64) -> BTreeSet<NodeId> {
    let placement = world.metadata.placement(PartitionId::new(partition)).unwrap();
    placement.replicas.iter().copied().collect()
}

fn on(world: &World, node: u64) -> usize {
    world.metadata.hosted_by(id(node)).count()
}

#[test]
fn what_was_just_placed_is_left_where_it_is() {
    for (nodes, factor) in [(1, 1), (3, 3), (4, 3), (5, 2), (7, 3), (6, 5)] {
        let mut world = World::of_nodes(nodes);
        for topic in 0..20 {
            world.done(create(&format!("t{topic}"), topic % 7 + 1, factor, &[]));
        }
        assert_eq!(world.run(), 0, "{nodes} nodes, factor {factor}");
    }
}

#[test]
fn partitions_grow_from_one_to_three_replicas_at_once() {
    let mut world = at_rest(1, 4, 3);
    world.join("n2", "");
    world.run();
    assert!((1..=4).all(|id| replicas(&world, id).len() == 1), "two replicas would not be better than one");
    world.join("n3", "");
    assert_eq!(world.plan().len(), 4);
    world.run();
    world.check_rest();
    assert_eq!(replicas(&world, 1), set(&[1, 2, 3]));
    world.check_replay();
}

#[test]
fn a_bounded_number_of_partitions_changes_at_the_same_time() {
    let mut world = at_rest(1, 500, 3);
    world.join("n2", "");
    world.join("n3", "");
    assert_eq!(world.round(), CHANGES_IN_FLIGHT_MAX);
    assert_eq!(world.plan(), [], "the first have to settle");
    world.settle(PartitionId::new(1));
    assert_eq!(world.round(), 1);
    world.run();
    world.check_rest();
}

#[test]
fn a_new_node_gets_its_share_and_leads_its_share() {
    let mut world = at_rest(3, 40, 3);
    world.join("n4", "");
    world.run();
    world.check_rest();
    assert!(on(&world, 4) >= 28, "{}", on(&world, 4));
    let leads = world.loads(|_| 1);
    assert!(leads.values().all(|leads| (9..=11).contains(leads)), "{leads:?}");
}

#[test]
fn a_draining_node_is_emptied_and_removed() {
    let mut world = at_rest(4, 20, 3);
    world.voters = set(&[1]);
    world.drain(1);
    world.run();
    assert_eq!(on(&world, 1), 0);
    assert!(world.metadata.node(id(1)).is_some(), "it votes still");
    world.voters = set(&[2]);
    world.run();
    assert!(world.metadata.was_removed(id(1)));
    world.check_rest();
}

#[test]
fn a_draining_node_is_emptied_although_no_other_is_left_for_its_replicas() {
    let mut world = at_rest(3, 5, 3);
    world.drain(3);
    world.run();
    assert!(world.metadata.was_removed(id(3)));
    // A sound copy is not thrown away for the sake of an odd number.
    assert_eq!(replicas(&world, 1), set(&[1, 2]));
    world.join("n4", "");
    world.run();
    world.check_rest();
}

#[test]
fn a_failed_node_is_replaced_only_when_it_is_given_up() {
    let mut world = at_rest(4, 8, 3);
    world.fail(id(1));
    assert_eq!(world.run(), 0);
    world.give_up(id(1));
    world.run();
    assert_eq!(on(&world, 1), 0);
    assert!(world.metadata.node(id(1)).is_some(), "it may come back");
    world.revive(id(1));
    world.run();
    world.check_rest();
    assert!(on(&world, 1) > 3);
}

#[test]
fn a_failed_node_keeps_its_replicas_where_no_other_can_take_them() {
    let mut world = at_rest(3, 4, 3);
    world.give_up(id(1));
    assert_eq!(world.run(), 0);
}

#[test]
fn a_lost_node_is_replaced_without_delay() {
    let mut world = at_rest(3, 6, 3);
    world.join("n2", "");
    world.run();
    assert!(world.metadata.was_removed(id(2)));
    assert_eq!(replicas(&world, 1), set(&[1, 3, 4]));
    world.check_rest();
}

#[test]
fn partitions_without_a_majority_are_left_alone() {
    let mut world = at_rest(6, 1, 3);
    let mut members = replicas(&world, 1).into_iter();
    world.give_up(members.next().unwrap());
    world.give_up(members.next().unwrap());
    assert_eq!(world.plan(), []);
    let health = world.metadata.health(&world.live);
    assert_eq!((health.under_replicated.count, health.failed.len()), (1, 2));
}

#[test]
fn a_damaged_replica_goes_and_comes_back() {
    let mut world = at_rest(3, 1, 3);
    let partition = PartitionId::new(1);
    world.damage(partition, id(2));
    assert_eq!(world.metadata.health(&world.live).damaged.first, [partition]);
    world.round();
    assert_eq!(replicas(&world, 1), set(&[1, 3]));
    assert_eq!(world.plan(), [], "until the group has let go of it");
    world.settle(partition);
    world.round();
    assert_eq!(replicas(&world, 1), set(&[1, 2, 3]));
    world.run();
    world.check_rest();
    assert!(world.metadata.health(&world.live).is_good());
}

#[test]
fn the_only_replica_stays_although_it_is_damaged() {
    let mut world = at_rest(3, 1, 1);
    let node = *replicas(&world, 1).first().unwrap();
    world.damage(PartitionId::new(1), node);
    assert_eq!(world.run(), 0);
}

#[test]
fn a_change_does_not_wait_for_a_node_that_will_not_come() {
    let mut world = at_rest(4, 1, 3);
    let partition = PartitionId::new(1);
    let member = *replicas(&world, 1).first().unwrap();
    world.drain(member.get());
    world.round();
    let newcomer = (1..=4).map(id).find(|id| !world.groups[&partition].members.contains(id)).unwrap();
    assert!(replicas(&world, 1).contains(&newcomer));
    world.fail(newcomer);
    world.settle(partition);
    assert_eq!(world.plan(), [], "it may come yet");
    world.give_up(newcomer);
    let other = world.join("n5", "").id;
    world.run();
    assert!(replicas(&world, 1).contains(&other) && !replicas(&world, 1).contains(&newcomer));
    assert_eq!(on(&world, member.get()), 0);
}

#[test]
fn a_newcomer_that_is_damaged_is_given_up_although_its_forerunner_drains() {
    let mut world = at_rest(2, 1, 1);
    let partition = PartitionId::new(1);
    let member = *replicas(&world, 1).first().unwrap();
    world.drain(member.get());
    world.round();
    let newcomer = *replicas(&world, 1).first().unwrap();
    world.damage(partition, newcomer);
    world.round();
    assert_eq!(replicas(&world, 1), [member].into(), "back to where the data is");
    world.run();
    assert_eq!(replicas(&world, 1), [newcomer].into(), "and once more");
    world.check_rest();
}

#[test]
fn a_newcomer_that_is_lost_is_let_go_of_where_only_a_damaged_node_is_left() {
    let mut world = at_rest(3, 1, 3);
    let partition = PartitionId::new(1);
    world.damage(partition, id(2));
    let newcomer = world.join("n4", "").id;
    world.round();
    assert_eq!(replicas(&world, 1), set(&[1, 3, 4]));
    world.done(Command::LoseNode { node: newcomer });
    world.run();
    assert_eq!(replicas(&world, 1), set(&[1, 2, 3]));
    world.check_rest();
}

#[test]
fn changes_that_are_stuck_do_not_keep_others_waiting() {
    let mut world = at_rest(3, 2 * CHANGES_IN_FLIGHT_MAX as u32, 1);
    world.drain(3);
    world.round();
    // Every change waits for a node that failed.
    world.fail(id(1));
    world.join("n4", "");
    assert!(!world.plan().is_empty());
}

#[test]
fn racks_that_come_later_are_used() {
    let mut world = World::of_racks(&["a", "a", "a"]);
    world.done(create("t", 10, 3, &[]));
    for (name, rack) in [("n4", "b"), ("n5", "b"), ("n6", "c"), ("n7", "c")] {
        world.join(name, rack);
    }
    world.run();
    world.check_rest();
    for (_, placement) in world.metadata.placements() {
        assert_eq!(world.rack_score(&placement.replicas), 3, "{placement:?}");
    }
}

#[test]
fn health_tells_of_copies_that_the_cluster_has_no_nodes_for() {
    let small = at_rest(2, 4, 3).metadata;
    let health = small.health(&Liveness { alive: [id(1), id(2)].into(), ..Liveness::default() });
    assert_eq!((health.short.count, health.under_replicated.count), (4, 0));
    assert!(health.is_good(), "it is as good as it can be");
    let large = at_rest(3, 4, 3);
    assert_eq!(large.metadata.health(&large.live).short.count, 0);
}

#[test]
fn health_tells_what_is_wrong() {
    let mut world = at_rest(4, 10, 3);
    assert!(world.metadata.health(&world.live).is_good());
    world.fail(id(1));
    world.drain(2);
    let health = world.metadata.health(&world.live);
    assert_eq!((health.nodes, health.partitions), (4, 10));
    assert_eq!((health.failed, health.draining), (ids(&[1]), ids(&[2])));
    assert!(health.leaderless.count > 0 && health.under_replicated.count > 0 && health.moving.count == 0);
    world.round();
    assert!(world.metadata.health(&world.live).moving.count > 0);
    world.done(Command::LoseNode { node: id(2) });
    let health = world.metadata.health(&world.live);
    assert_eq!((health.nodes, health.lost), (3, ids(&[2])));
    assert!(!world.metadata.health(&world.live).is_good());
}

#[test]
fn without_nodes_there_is_nothing_to_plan() {
    let mut world = World::default();
    world.done(create("t", 3, 3, &[]));
    assert_eq!(world.plan(), []);
}

//! Where new partitions go, and how that is changed.

use crate::world::{World, alter, create, id, ids, set};
use std::collections::{BTreeMap, BTreeSet};
use varve_controller::{Command, Leading, MetadataError, Placement, REPORT_ENTRIES_MAX, Response};
use varve_record::{NodeId, PartitionId, Term};

fn replicas(world: &World, topic: &str) -> Vec<Vec<NodeId>> {
    let partitions = &world.metadata.topic(topic).unwrap().partitions;
    partitions.iter().map(|id| world.metadata.placement(*id).unwrap().replicas.clone()).collect()
}

fn sizes(nodes: usize, factor: u32) -> usize {
    let mut world = World::of_nodes(nodes);
    world.done(create("t", 1, factor, &[]));
    replicas(&world, "t")[0].len()
}

fn place(partition: PartitionId, replicas: &[u64], generation: u64) -> Command {
    Command::PlaceReplicas { partition, replicas: ids(replicas), generation }
}

fn report(node: u64, partition: PartitionId, term: u64, settled: Option<u64>) -> Command {
    let leading = vec![Leading { partition, term: Term::new(term), settled }];
    Command::Report { node: id(node), leading, damaged: Vec::new() }
}

fn damage(node: u64, partition: PartitionId) -> Command {
    Command::Report { node: id(node), leading: Vec::new(), damaged: vec![partition] }
}

fn placement(world: &World, partition: PartitionId) -> Placement {
    world.metadata.placement(partition).unwrap().clone()
}

/// A cluster of nodes, and a partition with a replica on each of the first three.
fn three_of(nodes: usize) -> (World, PartitionId) {
    let mut world = World::of_nodes(nodes);
    world.done(create("t", 1, 3, &ids(&[1, 2, 3])));
    (world, PartitionId::new(1))
}

#[test]
fn a_factor_that_cannot_be_met_is_made_odd() {
    let found: Vec<usize> = (1..=5).map(|nodes| sizes(nodes, 3)).collect();
    assert_eq!(found, [1, 1, 3, 3, 3]);
    let found: Vec<usize> = (1..=5).map(|nodes| sizes(nodes, 4)).collect();
    assert_eq!(found, [1, 1, 3, 4, 4]);
    assert_eq!([sizes(1, 2), sizes(2, 2), sizes(6, 7), sizes(7, 7)], [1, 2, 5, 7]);
}

#[test]
fn replicas_and_leaders_of_a_topic_are_spread_evenly() {
    let mut world = World::of_nodes(6);
    world.done(create("t", 12, 3, &[]));
    world.done(create("u", 6, 3, &[]));
    let even = |of: &dyn Fn(&Placement) -> usize, each| {
        assert!(world.loads(of).values().all(|load| *load == each), "{:?}", world.loads(of));
    };
    even(&|placement| placement.replicas.len(), 9);
    even(&|_| 1, 3);
    // No node shares its partitions with two others only, or these two would take all its load when it fails.
    for node in world.active() {
        let with = world.metadata.hosted_by(node).flat_map(|(_, placement)| placement.replicas.clone());
        assert!(with.collect::<BTreeSet<_>>().len() > 3);
    }
}

#[test]
fn a_new_topic_is_spread_although_a_node_is_empty() {
    let mut world = World::of_nodes(3);
    world.done(create("t", 30, 1, &[]));
    world.join("n4", "");
    world.done(create("u", 8, 1, &[]));
    let mut each: BTreeMap<NodeId, usize> = BTreeMap::new();
    replicas(&world, "u").iter().for_each(|replicas| *each.entry(replicas[0]).or_default() += 1);
    assert_eq!(each.values().copied().collect::<Vec<_>>(), [2, 2, 2, 2]);
}

#[test]
fn more_partitions_even_out_those_that_are_there() {
    let mut world = World::of_nodes(4);
    world.done(create("t", 2, 1, &[]));
    world.done(alter("t", 4));
    let leaders: BTreeSet<NodeId> = replicas(&world, "t").iter().map(|replicas| replicas[0]).collect();
    assert_eq!(leaders, set(&[1, 2, 3, 4]));
}

#[test]
fn racks_come_before_loads() {
    let mut world = World::of_racks(&["a", "a", "a", "b", "c"]);
    world.done(create("t", 20, 3, &[]));
    for replicas in replicas(&world, "t") {
        assert_eq!(world.rack_score(&replicas), 3, "{replicas:?}");
    }
}

#[test]
fn nodes_that_run_come_first_and_are_a_majority() {
    let mut world = World::of_nodes(5);
    world.done(create("three", 4, 3, &ids(&[2, 4, 5])));
    for replicas in replicas(&world, "three") {
        assert_eq!(replicas.into_iter().collect::<BTreeSet<_>>(), set(&[2, 4, 5]));
    }
    world.done(create("two", 4, 3, &ids(&[2, 4])));
    for replicas in replicas(&world, "two") {
        assert!(replicas.len() == 3 && replicas.contains(&id(2)) && replicas.contains(&id(4)));
        assert!(replicas[0] == id(2) || replicas[0] == id(4), "one that runs leads: {replicas:?}");
    }
    world.done(create("one", 1, 3, &ids(&[3])));
    assert_eq!(replicas(&world, "one"), [ids(&[3])]);
    world.done(create("strange", 1, 3, &ids(&[99])));
    assert_eq!(replicas(&world, "strange")[0].len(), 3, "who is nobody says nothing");
}

#[test]
fn nodes_that_drain_or_are_lost_get_nothing() {
    let mut world = World::of_nodes(5);
    world.drain(1);
    world.done(Command::LoseNode { node: id(2) });
    world.done(create("t", 5, 5, &[]));
    for replicas in replicas(&world, "t") {
        assert_eq!(replicas.into_iter().collect::<BTreeSet<_>>(), set(&[3, 4, 5]));
    }
}

#[test]
fn a_change_keeps_those_that_leave_until_it_is_settled() {
    let (mut world, partition) = three_of(5);
    world.done(report(1, partition, 1, Some(0)));
    world.done(place(partition, &[4, 1, 2], 0));
    let changed = placement(&world, partition);
    assert_eq!((&changed.replicas, &changed.leaving), (&ids(&[4, 1, 2]), &ids(&[3])));
    assert!(changed.generation == 1 && !changed.is_settled() && changed.hosts(id(3)));
    assert_eq!(world.metadata.hosted_by(id(3)).count(), 1);
    // A report of the generation before settles nothing.
    world.done(report(1, partition, 2, Some(0)));
    assert!(!placement(&world, partition).is_settled());
    // Who comes back leaves no more.
    world.done(place(partition, &[1, 3, 5], 1));
    let changed = placement(&world, partition);
    assert_eq!((&changed.replicas, &changed.leaving), (&ids(&[1, 3, 5]), &ids(&[4, 2])));
    world.done(report(1, partition, 2, Some(2)));
    let settled = placement(&world, partition);
    assert!(settled.is_settled() && settled.leaving.is_empty() && settled.leader == Some(id(1)));
}

#[test]
fn nobody_begins_a_group_anew_once_it_lives() {
    let (mut world, partition) = three_of(3);
    assert_eq!(placement(&world, partition).initial.len(), 3);
    world.done(report(1, partition, 1, None));
    assert_eq!(placement(&world, partition).initial.len(), 3);
    world.done(report(1, partition, 1, Some(0)));
    assert!(placement(&world, partition).initial.is_empty());
}

#[test]
fn the_highest_term_tells_who_leads() {
    let (mut world, partition) = three_of(4);
    let leader = |world: &World| (placement(world, partition).leader, placement(world, partition).term.get());
    world.done(report(2, partition, 3, None));
    world.done(report(1, partition, 2, None));
    assert_eq!(leader(&world), (Some(id(2)), 3));
    world.done(report(4, partition, 9, None));
    assert_eq!(leader(&world), (Some(id(2)), 3), "4 has no replica");
    world.done(report(3, partition, 4, None));
    assert_eq!(leader(&world), (Some(id(3)), 4));
    // One that is no member any more leads no more.
    world.done(place(partition, &[1, 2, 4], 0));
    world.done(report(3, partition, 4, Some(1)));
    assert_eq!(leader(&world), (None, 4));
}

#[test]
fn damage_is_forgotten_with_the_replica() {
    let (mut world, partition) = three_of(4);
    world.done(damage(3, partition));
    world.done(damage(4, partition));
    assert_eq!(placement(&world, partition).damaged, set(&[3]), "4 has no replica");
    world.done(place(partition, &[1, 2, 4], 0));
    assert_eq!(placement(&world, partition).damaged, set(&[3]));
    world.done(report(1, partition, 1, Some(1)));
    assert_eq!(placement(&world, partition).damaged, set(&[]));
}

#[test]
fn reports_of_what_is_known_or_gone_change_nothing() {
    let (mut world, partition) = three_of(3);
    world.done(report(1, partition, 1, Some(0)));
    world.done(damage(3, partition));
    let revision = world.metadata.revision();
    let unknown = PartitionId::new(77);
    for command in [
        report(1, partition, 1, Some(0)),
        report(1, unknown, 1, Some(0)),
        damage(3, partition),
        damage(3, unknown),
    ] {
        assert_eq!(world.apply(command), Ok(Response::Done));
    }
    assert_eq!(world.metadata.revision(), revision);
}

#[test]
fn a_change_that_makes_no_sense_is_refused() {
    let (mut world, partition) = three_of(8);
    world.drain(7);
    world.done(Command::LoseNode { node: id(8) });
    let none = PartitionId::new(9);
    let (wanted, max) = (8, 7);
    let cases = [
        (place(none, &[1], 0), MetadataError::PartitionNotFound(none)),
        (place(partition, &[1], 1), MetadataError::StaleGeneration { partition, generation: 1, current: 0 }),
        (place(partition, &[], 0), MetadataError::Zero("replica")),
        (place(partition, &[1, 2, 1], 0), MetadataError::ReplicaTwice { partition, node: id(1) }),
        (place(partition, &[1, 2, 9], 0), MetadataError::NodeNotFound(id(9))),
        (place(partition, &[1, 2, 7], 0), MetadataError::NodeDraining(id(7))),
        (place(partition, &[1, 2, 8], 0), MetadataError::NodeLost(id(8))),
        (place(partition, &[1, 2, 3, 4, 5, 6, 7, 8], 0), MetadataError::TooManyReplicas { wanted, max }),
    ];
    for (command, error) in cases {
        assert_eq!(world.apply(command), Err(error));
    }
    let leading = Leading { partition, term: Term::new(1), settled: None };
    let entries = REPORT_ENTRIES_MAX + 1;
    let long = Command::Report { node: id(1), leading: vec![leading; entries], damaged: Vec::new() };
    let max = REPORT_ENTRIES_MAX;
    assert_eq!(world.apply(long), Err(MetadataError::ReportTooLong { entries, max }));
}

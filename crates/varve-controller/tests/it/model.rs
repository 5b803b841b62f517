//! Random histories of a cluster.

use crate::world::{World, alter, create, id};
use proptest::collection::vec;
use proptest::prelude::*;
use varve_controller::{Command, controller_voters};
use varve_record::{NodeId, PartitionId};

/// What happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Event {
    Join {
        name: u8,
        rack: u8,
    },
    Drain {
        node: usize,
        drain: bool,
    },
    Lose {
        node: usize,
    },
    Remove {
        node: u64,
    },
    Fail {
        node: usize,
    },
    GiveUp {
        node: usize,
    },
    Revive {
        node: usize,
    },
    Create {
        topic: u8,
        partitions: u32,
        factor: u32,
    },
    Alter {
        topic: u8,
        partitions: u32,
    },
    Delete {
        topic: u8,
    },
    Damage {
        partition: usize,
        replica: usize,
    },
    /// The planner runs once.
    Plan,
    /// Some of the groups come forward: those whose number has one of these bits.
    Settle {
        mask: u64,
    },
    /// The controller's voters change.
    Vote,
    /// The planner and the groups run to the end.
    Run,
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..16usize;
    prop_oneof![
        3 => (0..12u8, 0..3u8).prop_map(|(name, rack)| Event::Join { name, rack }),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, drain)| Event::Drain { node, drain }),
        1 => node.clone().prop_map(|node| Event::Lose { node }),
        1 => (0..20u64).prop_map(|node| Event::Remove { node }),
        2 => node.clone().prop_map(|node| Event::Fail { node }),
        2 => node.clone().prop_map(|node| Event::GiveUp { node }),
        4 => node.prop_map(|node| Event::Revive { node }),
        3 => (0..6u8, 0..12u32, 0..9u32)
            .prop_map(|(topic, partitions, factor)| Event::Create { topic, partitions, factor }),
        1 => (0..6u8, 0..20u32).prop_map(|(topic, partitions)| Event::Alter { topic, partitions }),
        1 => (0..6u8).prop_map(|topic| Event::Delete { topic }),
        1 => (0..64usize, 0..7usize).prop_map(|(partition, replica)| Event::Damage { partition, replica }),
        4 => Just(Event::Plan),
        4 => any::<u64>().prop_map(|mask| Event::Settle { mask }),
        2 => Just(Event::Vote),
        1 => Just(Event::Run),
    ]
}

fn nth_node(world: &World, node: usize) -> Option<NodeId> {
    let nodes: Vec<_> = world.metadata.nodes().map(|node| node.id).collect();
    nodes.get(node % nodes.len().max(1)).copied()
}

fn happen(world: &mut World, event: &Event, racks: bool) {
    let topic_name = |topic: u8| format!("t{topic}");
    // Refusals are part of the history: the world checks that they change nothing.
    match *event {
        Event::Join { name, rack } => {
            let rack = if racks { format!("r{rack}") } else { String::new() };
            world.join(&format!("n{name}"), &rack);
        }
        Event::Drain { node, drain } => {
            if let Some(node) = nth_node(world, node) {
                let _ = world.apply(Command::DrainNode { node, drain });
            }
        }
        Event::Lose { node } => {
            if let Some(node) = nth_node(world, node)
                && world.apply(Command::LoseNode { node }).is_ok()
            {
                world.fail(node);
            }
        }
        Event::Remove { node } => {
            let _ = world.apply(Command::RemoveNode { node: id(node) });
        }
        Event::Fail { node } => nth_node(world, node).into_iter().for_each(|node| world.fail(node)),
        Event::GiveUp { node } => nth_node(world, node).into_iter().for_each(|node| world.give_up(node)),
        Event::Revive { node } => nth_node(world, node).into_iter().for_each(|node| world.revive(node)),
        Event::Create { topic, partitions, factor } => {
            let alive: Vec<_> = world.live.alive.iter().copied().collect();
            let _ = world.apply(create(&topic_name(topic), partitions, factor, &alive));
        }
        Event::Alter { topic, partitions } => {
            let _ = world.apply(alter(&topic_name(topic), partitions));
        }
        Event::Delete { topic } => {
            let _ = world.apply(Command::DeleteTopic { topic: topic_name(topic) });
        }
        Event::Damage { partition, replica } => {
            let partitions: Vec<PartitionId> = world.groups.keys().copied().collect();
            if let Some(partition) = partitions.get(partition % partitions.len().max(1)) {
                let replicas = &world.metadata.placement(*partition).unwrap().replicas;
                if let Some(node) = replicas.get(replica % replicas.len().max(1)).copied() {
                    world.damage(*partition, node);
                }
            }
        }
        Event::Plan => drop(world.round()),
        Event::Settle { mask } => {
            let moves = |partition: &PartitionId| mask >> (partition.get() % 64) & 1 == 1;
            for partition in world.groups.keys().copied().filter(moves).collect::<Vec<_>>() {
                world.settle(partition);
            }
        }
        Event::Vote => vote(world),
        Event::Run => drop(world.run()),
    }
}

fn vote(world: &mut World) {
    if world.voters.is_empty() {
        world.voters.extend(world.metadata.nodes().find(|node| node.is_active()).map(|node| node.id));
    }
    let before = world.voters.clone();
    let Some(voters) = controller_voters(&world.metadata, &world.live, &before) else { return };
    assert!(voters.len() % 2 == 1 && voters.len() <= 5, "{voters:?}");
    for voter in &voters {
        assert!(world.metadata.node(*voter).unwrap().is_active(), "{voter} may not vote");
        assert!(before.contains(voter) || world.live.is_alive(*voter), "{voter} does not run");
    }
    let run = |voters: &std::collections::BTreeSet<NodeId>| {
        voters.iter().filter(|id| world.live.is_alive(**id)).count() * 2 > voters.len()
    };
    assert!(run(&before) && run(&voters), "{before:?} to {voters:?}");
    assert_eq!(controller_voters(&world.metadata, &world.live, &voters), None, "not at rest");
    world.voters = voters;
}

/// All nodes come back, and all comes to rest.
fn heal(world: &mut World) {
    for node in world.metadata.nodes().map(|node| node.id).collect::<Vec<_>>() {
        world.revive(node);
    }
    vote(world);
    world.run();
    world.check_rest();
    world.check_replay();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_to_rest(racks: bool, events in vec(event(), 1..80)) {
        let mut world = World::default();
        for event in &events {
            happen(&mut world, event, racks);
        }
        heal(&mut world);
    }

    #[test]
    fn what_happens_after_a_rest_comes_to_rest_too(
        racks: bool,
        nodes in 1..8u8,
        events in vec(event(), 1..30),
    ) {
        let mut world = World::default();
        for name in 0..nodes {
            happen(&mut world, &Event::Join { name, rack: name % 3 }, racks);
        }
        happen(&mut world, &Event::Create { topic: 0, partitions: 30, factor: 3 }, racks);
        heal(&mut world);
        for event in &events {
            happen(&mut world, event, racks);
        }
        heal(&mut world);
    }
}

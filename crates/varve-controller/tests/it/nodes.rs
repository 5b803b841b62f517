//! Nodes come and go.

use crate::world::{World, create, id, register};
use varve_controller::{
    ADDRESS_BYTES_MAX, Command, Metadata, MetadataError, NODE_NAME_BYTES_MAX, NODES_MAX, NodeState,
    RACK_BYTES_MAX, Response,
};

fn update(node: u64, addr: &str, rack: &str) -> Command {
    let (rpc_addr, gossip_addr) = (addr.to_owned(), addr.to_owned());
    Command::UpdateNode { node: id(node), rpc_addr, gossip_addr, rack: rack.to_owned() }
}

fn drain(node: u64, drain: bool) -> Command {
    Command::DrainNode { node: id(node), drain }
}

fn remove(node: u64) -> Command {
    Command::RemoveNode { node: id(node) }
}

fn lose(node: u64) -> Command {
    Command::LoseNode { node: id(node) }
}

#[test]
fn ids_count_from_one_and_a_name_registered_again_is_another_node() {
    let mut world = World::default();
    let (first, second) = (world.join("a", "r1"), world.join("b", "r2"));
    assert_eq!([first.id, second.id], [id(1), id(2)]);
    assert_eq!((first.rpc_addr.as_str(), first.gossip_addr.as_str()), ("a:7171", "a:7172"));
    let again = world.join("a", "r3");
    assert_eq!((again.id, again.state), (id(3), NodeState::Active));
    assert_eq!(world.metadata.node(id(1)).unwrap().state, NodeState::Lost);
    assert_eq!(world.metadata.node_by_name("a").unwrap().id, id(3));
    assert_eq!(world.metadata.nodes().count(), 3);
}

#[test]
fn a_removed_id_is_told_from_one_that_never_was() {
    let mut world = World::of_nodes(2);
    world.drain(2);
    world.done(remove(2));
    let removed = |node| world.metadata.was_removed(id(node));
    assert_eq!([removed(0), removed(1), removed(2), removed(3)], [false, false, true, false]);
    assert_eq!(world.apply(update(2, "h:1", "")), Err(MetadataError::NodeRemoved(id(2))));
    assert_eq!(world.apply(update(3, "h:1", "")), Err(MetadataError::NodeNotFound(id(3))));
    assert_eq!(world.join("n2", "").id, id(3));
}

#[test]
fn where_a_node_is_can_change() {
    let mut world = World::of_nodes(1);
    world.done(update(1, "other:1", "r"));
    let node = world.metadata.node(id(1)).unwrap();
    assert_eq!((node.rpc_addr.as_str(), node.rack.as_str()), ("other:1", "r"));
    let revision = world.metadata.revision();
    world.done(update(1, "other:1", "r"));
    assert_eq!(world.metadata.revision(), revision, "nothing new");
}

#[test]
fn a_lost_node_never_comes_back() {
    let mut world = World::of_nodes(2);
    world.done(lose(1));
    for command in [update(1, "h:1", ""), drain(1, false), drain(1, true)] {
        assert_eq!(world.apply(command), Err(MetadataError::NodeLost(id(1))));
    }
    let report = Command::Report { node: id(1), leading: Vec::new(), damaged: Vec::new() };
    assert_eq!(world.apply(report), Err(MetadataError::NodeLost(id(1))));
}

#[test]
fn somebody_always_takes_replicas() {
    let mut world = World::of_nodes(2);
    world.drain(1);
    assert_eq!(world.apply(drain(2, true)), Err(MetadataError::LastActiveNode(id(2))));
    assert_eq!(world.apply(lose(2)), Err(MetadataError::LastActiveNode(id(2))));
    assert_eq!(world.apply(remove(2)), Err(MetadataError::NodeActive(id(2))));
    world.done(drain(1, false));
    world.done(drain(2, true));
}

#[test]
fn a_node_that_holds_something_is_not_removed() {
    let mut world = World::of_nodes(3);
    world.done(create("t", 2, 3, &[]));
    world.drain(1);
    assert_eq!(world.apply(remove(1)), Err(MetadataError::NodeInUse { node: id(1), replicas: 2 }));
    // Also while it is only not known to be out of the group.
    let partition = world.metadata.topic("t").unwrap().partitions[0];
    let replicas = vec![id(2), id(3)];
    world.done(Command::PlaceReplicas { partition, replicas, generation: 0 });
    assert_eq!(world.apply(remove(1)), Err(MetadataError::NodeInUse { node: id(1), replicas: 2 }));
    world.run();
    assert!(world.metadata.was_removed(id(1)), "the planner removes it");
}

#[test]
fn texts_and_numbers_are_bounded() {
    let mut world = World::of_nodes(1);
    let long = |max: usize| "x".repeat(max + 1);
    let named = |name: &str| register(name, "");
    let refused = [
        named(""),
        named("a b"),
        named("n\u{e4}me"),
        named("a\nb"),
        named(&long(NODE_NAME_BYTES_MAX)),
        register("a", &long(RACK_BYTES_MAX)),
        register("a", "r 1"),
        update(1, "", ""),
        update(1, &long(ADDRESS_BYTES_MAX), ""),
    ];
    for command in refused {
        assert!(matches!(world.apply(command.clone()), Err(MetadataError::NodeText { .. })), "{command:?}");
    }
    let mut metadata = Metadata::default();
    for node in 0..NODES_MAX {
        metadata.apply(&named(&format!("n{node}"))).unwrap();
    }
    assert_eq!(metadata.apply(&named("more")), Err(MetadataError::TooManyNodes { max: NODES_MAX }));
    metadata.apply(&lose(5)).unwrap();
    assert_eq!(metadata.apply(&remove(5)), Ok(Response::Done));
    metadata.apply(&named("more")).unwrap();
}

//! Logs and states from before there were nodes.

use crate::world::{World, alter, create, id, ids};
use varve_controller::{
    Command, Metadata, MetadataError, ProducerIdentity, REPLICATION_FACTOR_MAX, Response,
};
use varve_record::{PartitionId, ProducerEpoch, ProducerId};

/// What an older version stored.
const STORED: &[u8] = br#"{
    "topics": {
        "events": {"partitions": [1, 3], "replication_factor": 3, "created_ms": 5, "settings": {}},
        "logs": {"partitions": [2], "replication_factor": 1, "created_ms": 6}
    },
    "next_partition": 5,
    "producers": {"next_id": 7, "named": {"p": {"id": 6, "epoch": 2}}}
}"#;

#[test]
fn the_first_node_gets_the_partitions_from_before_it() {
    let mut world = World::default();
    world.done(create("t", 2, 3, &[]));
    world.done(alter("t", 3));
    let replicas = |world: &World| -> Vec<_> {
        world.metadata.placements().map(|(_, placement)| placement.replicas.clone()).collect()
    };
    assert_eq!(replicas(&world), [ids(&[]), ids(&[]), ids(&[])]);
    world.join("a", "");
    assert_eq!(replicas(&world), [ids(&[1]), ids(&[1]), ids(&[1])]);
    world.join("b", "");
    assert_eq!(replicas(&world), [ids(&[1]), ids(&[1]), ids(&[1])]);
    let placement = world.metadata.placement(PartitionId::new(1)).unwrap();
    assert_eq!((placement.initial.as_slice(), placement.is_settled()), (ids(&[1]).as_slice(), true));
    world.join("c", "");
    world.run();
    world.check_rest();
    assert!(replicas(&world).iter().all(|replicas| replicas.len() == 3), "they grow like all others");
    world.check_replay();
}

#[test]
fn a_state_without_nodes_is_read() {
    let mut metadata: Metadata = serde_json::from_slice(STORED).unwrap();
    let stored = serde_json::to_string(&metadata).unwrap();
    assert!(stored.contains(r#""named":{"p":{"id":6,"epoch":2}}"#), "{stored}");
    assert_eq!(metadata.partition_name(PartitionId::new(3)), Some(("events", 1)));
    assert_eq!(metadata.partition_name(PartitionId::new(2)), Some(("logs", 0)));
    assert!(metadata.was_deleted(PartitionId::new(4)));
    assert_eq!((metadata.revision(), metadata.nodes().count()), (0, 0));
    metadata.apply(&crate::world::register("a", "")).unwrap();
    assert_eq!(metadata.hosted_by(id(1)).count(), 3);
    let json = serde_json::to_vec(&metadata).unwrap();
    assert_eq!(serde_json::from_slice::<Metadata>(&json).unwrap(), metadata);
}

#[test]
fn a_producer_from_before_there_were_owners_is_its_first_claimants() {
    let mut metadata: Metadata = serde_json::from_slice(STORED).unwrap();
    let mut claim = |subject: &str, take_over| {
        let (name, subject) = ("p".to_owned(), subject.to_owned());
        metadata.apply(&Command::ClaimProducer { name, subject, take_over })
    };
    let taken = claim("alice", false).unwrap();
    let (id, epoch) = (ProducerId::new(6), ProducerEpoch::new(3));
    assert_eq!(taken, Response::Producer(ProducerIdentity { id, epoch }));
    assert_eq!(claim("bob", false), Err(MetadataError::ProducerOwned { name: "p".to_owned() }));
    let stored = serde_json::to_string(&metadata).unwrap();
    assert!(stored.contains(r#""named":{"p":{"id":6,"epoch":3,"owner":"alice"}}"#), "{stored}");
}

#[test]
fn a_factor_that_was_accepted_once_stays_accepted() {
    let mut world = World::default();
    let many = REPLICATION_FACTOR_MAX + 1;
    world.done(create("old", 1, many, &[]));
    world.join("a", "");
    let refused = MetadataError::TooManyReplicas { wanted: 8, max: 7 };
    assert_eq!(world.apply(create("new", 1, many, &[])), Err(refused));
    world.done(Command::DeleteTopic { topic: "old".to_owned() });
}

//! Logs that were written by a node alone, taken into a group.

use crate::command_log::Sum;
use crate::fixture::{Fixture, NODE, PARTITION, batch, produce, values, within};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::FaultyDisk;
use varve_env::{Env, SeededEntropy};
use varve_record::{NodeId, Offset, PartitionId};
use varve_replica::{
    CommandLog, GroupSettings, GroupTiming, MemoryNetwork, OpenReplicaError, Partition, PartitionSettings,
    Peers, ProduceError, Produced,
};
use varve_storage::{PartitionConfig, Retention, Storage, StorageConfig};

const COMMANDS: PartitionId = PartitionId::new(0);

fn settings() -> PartitionSettings {
    let log = PartitionConfig { segment_bytes: 64 * 1024, ..PartitionConfig::default() };
    PartitionSettings { log, retention: Retention::default() }
}

fn group(voters: &[NodeId]) -> GroupSettings {
    let timing = GroupTiming { heartbeat_ms: 50, election_ms: 300 };
    GroupSettings { timing, voters: voters.iter().copied().collect(), ..GroupSettings::default() }
}

async fn append(partition: &Partition, value: &str) -> Produced {
    let appended = async {
        loop {
            match partition.produce(produce(batch(&[value]))).await {
                Ok(produced) => return produced,
                Err(ProduceError::NotLeader { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    within(appended).await
}

#[tokio::test]
async fn a_partition_goes_on_in_a_group_and_grows() {
    let fixture = Fixture::new();
    let partition = fixture.partition_with(settings()).await;
    let large = "x".repeat(20_000);
    for _ in 0..10 {
        append(&partition, &large).await;
    }
    within(partition.trim(Offset::new(5))).await.unwrap();
    partition.close();
    drop(partition);
    let mut fixture = fixture.crash();

    let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(3)));
    for start in 0..3 {
        let peers = Peers::new(NODE, network.of(NODE));
        network.plug(&peers);
        let (env, storage) = (&fixture.env, &fixture.storage);
        let settled = group(&[NODE]);
        let joined = Partition::join(env, storage, PARTITION, &peers, settings(), &settled);
        let partition = within(joined).await.unwrap();
        let produced = append(&partition, "more").await;
        assert_eq!(produced.first_offset, Some(Offset::new(10 + start)));
        assert_eq!(partition.progress().log_start_offset, Offset::new(5));
        assert_eq!(partition.members().unwrap().voters, BTreeSet::from([NODE]));
        if start == 2 {
            let (other, disk) = (NodeId::new(2), FaultyDisk::new(2));
            let env = Env { disk: Arc::new(disk), ..Env::real() };
            let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
            let peers = Peers::new(other, network.of(other));
            network.plug(&peers);
            let settled = group(&[NODE]);
            let joined = Partition::join(&env, &storage, PARTITION, &peers, settings(), &settled);
            let new = within(joined).await.unwrap();
            within(partition.add_learner(other)).await.unwrap();
            within(partition.change_voters(&BTreeSet::from([NODE, other]))).await.unwrap();
            append(&partition, "together").await;
            within(new.wait_applied(Offset::new(14))).await.unwrap();
            let found = values(&new, 5).await;
            assert_eq!((found.len(), found[5].as_str(), found[8].as_str()), (9, "more", "together"));
            assert_eq!(new.members().unwrap().voters, BTreeSet::from([NODE, other]));
        }
        within(partition.stop()).await;
        drop(partition);
        fixture = fixture.crash();
    }
}

#[tokio::test]
async fn a_command_log_goes_on_in_a_group() {
    let fixture = Fixture::new();
    let alone = CommandLog::open(&fixture.env, &fixture.storage, COMMANDS, NODE, Sum::default());
    let log = within(alone).await.unwrap();
    within(log.propose(4)).await.unwrap().unwrap();
    drop(log);
    let fixture = fixture.crash();
    let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(3)));
    let peers = Peers::new(NODE, network.of(NODE));
    network.plug(&peers);
    let (env, storage) = (&fixture.env, &fixture.storage);
    let settled = group(&[NODE]);
    let joined = CommandLog::join(env, storage, COMMANDS, &peers, &settled, Sum::default());
    let log = within(joined).await.unwrap();
    within(log.ready()).await.unwrap();
    assert_eq!(log.state().0, 4);
    assert_eq!(within(log.propose(2)).await.unwrap(), Ok(6));
}

#[tokio::test]
async fn a_log_written_alone_is_not_taken_into_a_group_that_others_may_lead() {
    let fixture = Fixture::new();
    let partition = fixture.partition_with(settings()).await;
    append(&partition, "x").await;
    drop(partition);
    let fixture = fixture.crash();
    let network = MemoryNetwork::new(Arc::new(SeededEntropy::new(3)));
    let peers = Peers::new(NODE, network.of(NODE));
    for voters in [&[NODE, NodeId::new(2), NodeId::new(3)][..], &[]] {
        let (env, storage) = (&fixture.env, &fixture.storage);
        let settled = group(voters);
        let joined = Partition::join(env, storage, PARTITION, &peers, settings(), &settled);
        assert!(matches!(within(joined).await, Err(OpenReplicaError::Alone { .. })));
    }
}

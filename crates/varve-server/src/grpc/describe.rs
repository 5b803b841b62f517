//! What is told of a topic, and its leaders asked where they know better.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream;
use varve_api::v1;
use varve_record::{NodeId, PartitionId};
use varve_replica::Partition;

use super::Shared;
use super::convert::to_wire_time;
use super::settings::{effective_to_wire, to_wire};
use crate::cluster::unforwarded_for;
use crate::limits::{COLLEAGUE_TIMEOUT, COLLEAGUES_ASKED_AT_ONCE};
use crate::topics::{Slot, Topic};

/// A topic as this node knows it.
pub(super) fn of(shared: &Shared, topic: &Topic) -> v1::Topic {
    let partitions = topic.slots().map(|(number, id, slot)| partition(shared, number, id, slot));
    v1::Topic {
        name: topic.name.to_string(),
        replication_factor: topic.described.replication_factor,
        settings: Some(to_wire(&topic.described.settings)),
        partitions: partitions.collect(),
        create_time: Some(to_wire_time(topic.described.created_ms)),
        effective_settings: Some(effective_to_wire(&topic.effective)),
    }
}

/// The same, with offsets and sizes as the leaders of the partitions know them, as far as they answer.
pub(super) async fn by_leaders(shared: &Shared, topic: &Topic) -> v1::Topic {
    let mut described = of(shared, topic);
    let this = shared.view.this().get();
    let leaders: BTreeSet<u64> = described.partitions.iter().filter_map(|p| p.leader).collect();
    let asked = stream::iter(leaders.into_iter().filter(|leader| *leader != this))
        .map(|leader| ask(shared, leader, &described.name));
    let answers: Vec<_> = asked.buffer_unordered(COLLEAGUES_ASKED_AT_ONCE).collect().await;
    let answers: BTreeMap<u64, v1::Topic> = answers.into_iter().flatten().collect();
    for partition in &mut described.partitions {
        let answer = partition.leader.and_then(|leader| answers.get(&leader));
        let theirs = answer.and_then(|topic| topic.partitions.get(partition.partition as usize));
        if let Some(theirs) = theirs.filter(|theirs| theirs.seen_by == partition.leader) {
            partition.log_start_offset = theirs.log_start_offset;
            partition.high_watermark = theirs.high_watermark;
            partition.size_bytes = theirs.size_bytes;
            partition.seen_by = theirs.seen_by;
        }
    }
    described
}

/// What a leader knows of a topic; nothing where it does not answer in time.
async fn ask(shared: &Shared, leader: u64, name: &str) -> Option<(u64, v1::Topic)> {
    let addr = shared.view.addresses.rpc_addr(NodeId::new(leader))?;
    let mut cluster = shared.forwarder.cluster(&addr).ok()?;
    let request = v1::DescribeTopicRequest { name: name.to_owned(), create_missing: false };
    let asked = cluster.describe_topic(unforwarded_for(request, COLLEAGUE_TIMEOUT));
    let answer = tokio::time::timeout(COLLEAGUE_TIMEOUT, asked).await.ok()?.ok()?;
    Some((leader, answer.into_inner().topic?))
}

fn partition(shared: &Shared, number: u32, id: PartitionId, slot: &Slot) -> v1::Partition {
    let state = shared.view.state();
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    let mut described = v1::Partition { partition: number, ..v1::Partition::default() };
    let open = match slot {
        Slot::Open(partition) => Some(partition),
        Slot::Failed(_) | Slot::Elsewhere => None,
    };
    let takes_part = open.is_some_and(Partition::takes_part);
    if let Some(placement) = state.0.placement(id) {
        described.replicas = ids(&placement.replicas);
        described.leaving = ids(&placement.leaving);
        // Who is alive is put together for each question: not for each of a thousand partitions that know better.
        let leader = if takes_part { None } else { shared.view.leader_hint(id) };
        described.leader = leader.map(u64::from);
        described.term = leader.map(|_| placement.term.get());
    }
    let Some(partition) = open else { return described };
    let status = partition.status();
    // Whoever takes part in the group knows better than the metadata, also that nobody leads.
    if takes_part {
        described.leader = status.progress.leader.map(u64::from);
        described.term = status.progress.leader.map(|_| status.progress.term.get());
    }
    v1::Partition {
        log_start_offset: Some(status.progress.log_start_offset.get()),
        high_watermark: Some(status.progress.high_watermark.get()),
        size_bytes: Some(status.size_bytes),
        seen_by: Some(shared.view.this().get()),
        ..described
    }
}

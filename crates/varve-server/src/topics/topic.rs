//! A topic as this node serves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_util::sync::CancellationToken;
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_record::PartitionId;
use varve_replica::{OpenReplicaError, Partition};

use super::defaults::Effective;
use crate::error::{At, open_error};
use crate::partitioner::partition_of_key;
use crate::telemetry::TopicTraffic;

/// A topic and the handles to its partitions. It is replaced by another when it is altered.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    /// As the metadata have it.
    pub(crate) described: varve_controller::Topic,
    /// The settings in force.
    pub(crate) effective: Effective,
    /// What went through it here.
    pub(crate) traffic: Arc<TopicTraffic>,
    partitions: Vec<Slot>,
    /// Counts what was given no partition and has no key.
    unkeyed: AtomicU32,
    deleted: CancellationToken,
}

/// A partition, or why there is no handle to it.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Open(Partition),
    /// It lies here, and could not be opened.
    Failed(Arc<OpenReplicaError>),
    /// It lies on other nodes.
    Elsewhere,
}

impl Slot {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open(partition), Self::Open(other)) => partition.is(other),
            (Self::Failed(error), Self::Failed(other)) => Arc::ptr_eq(error, other),
            (Self::Elsewhere, Self::Elsewhere) => true,
            _ => false,
        }
    }
}

impl Topic {
    pub(crate) fn new(
        name: TopicName,
        described: varve_controller::Topic,
        effective: Effective,
        partitions: Vec<Slot>,
        traffic: Arc<TopicTraffic>,
    ) -> Self {
        let (unkeyed, deleted) = (AtomicU32::new(0), CancellationToken::new());
        Self { name, described, effective, traffic, partitions, unkeyed, deleted }
    }

    /// The topic as it is altered: those who wait for its deletion wait on.
    pub(crate) fn altered(
        &self,
        described: varve_controller::Topic,
        effective: Effective,
        partitions: Vec<Slot>,
    ) -> Self {
        let altered =
            Self::new(self.name.clone(), described, effective, partitions, Arc::clone(&self.traffic));
        Self { deleted: self.deleted.clone(), ..altered }
    }

    /// How many partitions it has, at least one.
    pub(crate) fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// A partition's number in the cluster, and the handle to it if it lies here.
    pub(crate) fn slot(&self, number: u32) -> Result<(PartitionId, &Slot), ApiError> {
        let id = self.described.partitions.get(number as usize).copied();
        match (id, self.partitions.get(number as usize)) {
            (Some(id), Some(slot)) => Ok((id, slot)),
            _ => Err(self.no_partition(number)),
        }
    }

    /// Whether these are the handles that it has.
    pub(crate) fn has(&self, slots: &[Slot]) -> bool {
        self.partitions.len() == slots.len() && self.partitions.iter().zip(slots).all(|(a, b)| a.is(b))
    }

    /// Where a record without a partition goes: by its key, else to each in turn.
    pub(crate) fn choose_partition(&self, key: Option<&[u8]>) -> u32 {
        match key {
            Some(key) => partition_of_key(key, self.partition_count()),
            None => self.unkeyed.fetch_add(1, Ordering::Relaxed) % self.partition_count().max(1),
        }
    }

    /// Every partition with its number, open or not.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, PartitionId, &Slot)> {
        let ids = self.described.partitions.iter().copied();
        (0..).zip(ids).zip(&self.partitions).map(|((number, id), slot)| (number, id, slot))
    }

    /// Every open partition with its number.
    pub(crate) fn open_partitions(&self) -> impl Iterator<Item = (u32, &Partition)> {
        self.slots().filter_map(|(number, _, slot)| match slot {
            Slot::Open(partition) => Some((number, partition)),
            Slot::Failed(_) | Slot::Elsewhere => None,
        })
    }

    /// The first failure to open a partition, if there is one.
    pub(crate) fn failure(&self) -> Option<ApiError> {
        self.slots().find_map(|(number, _, slot)| match slot {
            Slot::Failed(error) => Some(open_error(error, self.at(number))),
            Slot::Open(_) | Slot::Elsewhere => None,
        })
    }

    /// Says to everybody who uses it that it is no more, and ends its partitions.
    pub(crate) fn delete(&self) {
        self.deleted.cancel();
        self.close();
    }

    pub(crate) fn close(&self) {
        self.open_partitions().for_each(|(_, partition)| partition.close());
    }

    /// Returns once the topic is deleted.
    pub(crate) async fn deleted(&self) {
        self.deleted.cancelled().await;
    }

    /// What went wrong with a partition, or that its topic was deleted meanwhile, which explains the rest.
    pub(crate) fn explain(&self, error: ApiError) -> ApiError {
        if self.deleted.is_cancelled() { self.deleted_error() } else { error }
    }

    /// The topic was deleted under a call.
    pub(crate) fn deleted_error(&self) -> ApiError {
        ApiError::new(Reason::TopicNotFound, format!("topic {} was deleted", self.name))
            .with(meta::TOPIC, &self.name)
    }

    /// A partition's name in messages.
    pub(crate) fn at(&self, partition: u32) -> At<'_> {
        At { topic: self.name.as_str(), partition }
    }

    fn no_partition(&self, number: u32) -> ApiError {
        let count = self.partition_count();
        let message = format!("topic {} has no partition {number}: it has {count}, from 0 on", self.name);
        ApiError::new(Reason::PartitionNotFound, message)
            .with(meta::TOPIC, &self.name)
            .with(meta::PARTITION, number)
            .with(meta::PARTITIONS, count)
    }
}

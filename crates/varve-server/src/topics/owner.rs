//! The one task that changes topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason};
use varve_controller::{Command, Metadata, Response, SettingsChange};
use varve_env::Env;
use varve_record::{NodeId, PartitionId, Timestamp};
use varve_replica::{Partition, PartitionSettings};
use varve_storage::{OpenError, Storage};

use super::topic::Slot;
use super::{Defaults, MetadataLog, NewTopic, Topic, TopicMap, not_found};
use crate::OPENING_MAX;
use crate::error::{command_error, metadata_error};

type Answer<T> = oneshot::Sender<Result<T, ApiError>>;

/// What the owner is asked to do.
#[derive(Debug)]
pub(crate) enum Change {
    /// Give a topic, and make it first if there is none.
    Ensure { new: NewTopic, answer: Answer<Arc<Topic>> },
    /// Make a topic.
    Create { new: NewTopic, answer: Answer<Arc<Topic>> },
    /// Change a topic.
    Alter { name: TopicName, partitions: Option<u32>, settings: SettingsChange, answer: Answer<Arc<Topic>> },
    /// Delete a topic.
    Delete { name: TopicName, answer: Answer<()> },
    /// Try again to open what could not be opened.
    Reopen,
}

#[derive(Debug)]
pub(crate) struct Owner {
    env: Env,
    storage: Storage,
    node: NodeId,
    metadata: MetadataLog,
    defaults: Defaults,
    publish: watch::Sender<Arc<TopicMap>>,
}

impl Owner {
    pub(crate) fn new(
        env: Env,
        storage: Storage,
        node: NodeId,
        metadata: MetadataLog,
        defaults: Defaults,
        publish: watch::Sender<Arc<TopicMap>>,
    ) -> Self {
        Self { env, storage, node, metadata, defaults, publish }
    }

    /// Opens and publishes every topic of the metadata.
    pub(crate) async fn open_all(&self) {
        let state = self.metadata.state();
        let mut topics = TopicMap::new();
        for (name, described) in state.0.topics() {
            match TopicName::new(name) {
                Ok(name) => {
                    let topic = self.open_topic(name.clone(), described.clone()).await;
                    topics.insert(name, Arc::new(topic));
                }
                Err(error) => tracing::error!(%error, "a topic of the metadata is left out"),
            }
        }
        self.sweep(&topics).await;
        self.publish.send_replace(Arc::new(topics));
    }

    /// Makes changes, one after the other, until nobody can ask for any.
    pub(crate) async fn run(self, mut changes: mpsc::Receiver<Change>) {
        while let Some(change) = changes.recv().await {
            // Whoever does not wait for an answer any more does not need it.
            match change {
                Change::Ensure { new, answer } => drop(answer.send(self.ensure(new).await)),
                Change::Create { new, answer } => drop(answer.send(self.create(new).await)),
                Change::Alter { name, partitions, settings, answer } => {
                    drop(answer.send(self.alter(name, partitions, settings).await));
                }
                Change::Delete { name, answer } => drop(answer.send(self.delete(name).await)),
                Change::Reopen => self.reopen().await,
            }
        }
    }

    async fn ensure(&self, new: NewTopic) -> Result<Arc<Topic>, ApiError> {
        match self.current(&new.name) {
            Some(topic) => Ok(topic),
            None => self.create(new).await,
        }
    }

    async fn create(&self, new: NewTopic) -> Result<Arc<Topic>, ApiError> {
        let command = Command::CreateTopic {
            topic: new.name.as_str().to_owned(),
            partitions: new.partitions.unwrap_or(self.defaults.partitions),
            replication_factor: new.replication_factor,
            created_ms: Timestamp::new(self.env.clock.now_unix_ms()),
            settings: new.settings,
            alive: Vec::new(),
        };
        let described = self.propose_topic(command).await?;
        let topic = Arc::new(self.open_topic(new.name, described).await);
        self.put(Arc::clone(&topic));
        tracing::info!(topic = %topic.name, partitions = topic.partition_count(), "topic created");
        topic.failure().map_or(Ok(topic), Err)
    }

    async fn alter(
        &self,
        name: TopicName,
        partitions: Option<u32>,
        settings: SettingsChange,
    ) -> Result<Arc<Topic>, ApiError> {
        let before = self.current(&name).ok_or_else(|| not_found(&name, false))?;
        let (topic, alive) = (name.as_str().to_owned(), Vec::new());
        let command = Command::AlterTopic { topic, partitions, settings, alive };
        let described = self.propose_topic(command).await?;
        let topic = self.altered(&before, described).await;
        tracing::info!(topic = %topic.name, partitions = topic.partition_count(), "topic altered");
        topic.failure().map_or(Ok(topic), Err)
    }

    async fn delete(&self, name: TopicName) -> Result<(), ApiError> {
        let command = Command::DeleteTopic { topic: name.as_str().to_owned() };
        let gone = match self.propose(command).await? {
            Response::Deleted(gone) => gone,
            _ => return Err(unexpected()),
        };
        // From here on the topic is gone for everybody; what is left to do is to give its space back.
        let topic = self.current(&name);
        self.publish.send_modify(|topics| {
            Arc::make_mut(topics).remove(&name);
        });
        if let Some(topic) = topic {
            topic.delete();
        }
        for partition in gone {
            self.remove(partition).await;
        }
        tracing::info!(topic = %name, "topic deleted");
        Ok(())
    }

    /// Opens again what could not be opened.
    async fn reopen(&self) {
        let topics = Arc::clone(&self.publish.borrow());
        for topic in topics.values().filter(|topic| topic.has_failed()) {
            self.altered(topic, topic.described.clone()).await;
        }
    }

    /// The topic as `described`, published: open partitions are kept, the others opened.
    async fn altered(&self, before: &Topic, described: varve_controller::Topic) -> Arc<Topic> {
        let known = before.slots().map(|(_, _, slot)| Some(slot.clone()));
        let slots = self.open_slots(&before.name, &described, known.collect()).await;
        let effective = self.defaults.apply(&described.settings);
        let topic = Arc::new(before.altered(described, effective, slots));
        self.put(Arc::clone(&topic));
        topic
    }

    async fn open_topic(&self, name: TopicName, described: varve_controller::Topic) -> Topic {
        let slots = self.open_slots(&name, &described, Vec::new()).await;
        let effective = self.defaults.apply(&described.settings);
        Topic::new(name, described, effective, slots)
    }

    /// A slot for each partition of a topic: those `known` to be open are kept, the others opened, several at a time.
    async fn open_slots(
        &self,
        name: &TopicName,
        described: &varve_controller::Topic,
        known: Vec<Option<Slot>>,
    ) -> Vec<Slot> {
        let settings = self.defaults.apply(&described.settings).partition();
        let known = known.into_iter().chain(std::iter::repeat(None));
        let mut slots = Vec::with_capacity(described.partitions.len());
        for (id, known) in described.partitions.iter().zip(known) {
            let settings = settings.clone();
            let slot = async move {
                match known {
                    Some(Slot::Open(partition)) => {
                        partition.alter(&settings);
                        Slot::Open(partition)
                    }
                    Some(Slot::Failed(_)) | None => self.open_partition(name, *id, settings).await,
                }
            };
            slots.push(slot.boxed());
        }
        stream::iter(slots).buffered(OPENING_MAX).collect().await
    }

    async fn open_partition(&self, topic: &TopicName, id: PartitionId, settings: PartitionSettings) -> Slot {
        match Partition::open(&self.env, &self.storage, id, self.node, settings).await {
            Ok(partition) => {
                if let Some(damage) = partition.status().damage {
                    tracing::error!(%topic, partition_id = %id, %damage, "partition is damaged: it serves what is sound, and takes nothing");
                }
                Slot::Open(partition)
            }
            Err(error) => {
                tracing::error!(%topic, partition_id = %id, %error, "partition could not be opened");
                Slot::Failed(Arc::new(error))
            }
        }
    }

    async fn remove(&self, id: PartitionId) {
        let storage = self.storage.clone();
        match self.env.blocking.run(move || storage.delete_partition(id)).await {
            Ok(()) | Err(OpenError::NoSuchPartition { .. }) => {}
            Err(error) => {
                tracing::error!(partition_id = %id, %error, "deleted partition's files could not be removed")
            }
        }
    }

    /// Removes what is left of partitions that the metadata say were deleted: a crash came between. Other directories that no
    /// topic knows are named and left alone: data is never deleted because metadata is missing.
    async fn sweep(&self, topics: &TopicMap) {
        let storage = self.storage.clone();
        let ids = match self.env.blocking.run(move || storage.partition_ids()).await {
            Ok(ids) => ids,
            Err(error) => return tracing::error!(%error, "partitions on the disk could not be listed"),
        };
        let of_topics = topics.values().flat_map(|topic| topic.described.partitions.iter().copied());
        let known: BTreeSet<PartitionId> = of_topics.chain([Metadata::CONTROLLER]).collect();
        let state = self.metadata.state();
        for id in ids.into_iter().filter(|id| !known.contains(id)) {
            if state.0.was_deleted(id) {
                tracing::info!(partition_id = %id, "partition of a deleted topic is removed");
                self.remove(id).await;
            } else {
                tracing::warn!(partition_id = %id, "partition on the disk belongs to no topic: it is left as it is");
            }
        }
    }

    async fn propose_topic(&self, command: Command) -> Result<varve_controller::Topic, ApiError> {
        match self.propose(command).await? {
            Response::Topic(topic) => Ok(topic),
            _ => Err(unexpected()),
        }
    }

    async fn propose(&self, command: Command) -> Result<Response, ApiError> {
        self.metadata.propose(command).await.map_err(command_error)?.map_err(metadata_error)
    }

    fn current(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.publish.borrow().get(name).cloned()
    }

    fn put(&self, topic: Arc<Topic>) {
        self.publish.send_modify(|topics| {
            Arc::make_mut(topics).insert(topic.name.clone(), topic);
        });
    }
}

fn unexpected() -> ApiError {
    ApiError::new(Reason::Internal, "the metadata answered what was not asked")
}

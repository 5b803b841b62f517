//! The one task that makes this node's partitions follow the metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::{interval, sleep_until, timeout};
use varve_api::TopicName;
use varve_controller::Metadata;
use varve_env::Env;
use varve_record::{NodeId, PartitionId, Term};
use varve_replica::{GroupSettings, GroupTiming, OpenReplicaError, Partition, Peers};
use varve_storage::{OpenError, PartitionConfig, Storage};

use super::retries::{Circumstances, Retries};
use super::topic::Slot;
use super::{Defaults, Effective, Published, Topic, TopicMap};
use crate::cluster::ClusterView;
use crate::limits::{DAMAGED_HAND_OVER_TIMEOUT, FAILURE_LOOK_INTERVAL, OPENING_MAX, OPENING_PORTION};
use crate::telemetry::Traffic;

pub(crate) struct Owner {
    env: Env,
    storage: Storage,
    peers: Peers,
    timing: GroupTiming,
    view: ClusterView,
    defaults: Defaults,
    traffic: Traffic,
    /// The partitions that lie here.
    hosted: BTreeMap<PartitionId, Slot>,
    retries: Retries,
    publish: watch::Sender<Published>,
}

/// A partition that this node is to have, and how.
struct Wanted {
    id: PartitionId,
    topic: TopicName,
    effective: Effective,
    voters: BTreeSet<NodeId>,
    /// Which of them shall lead first.
    first_leader: Option<NodeId>,
    /// The last term that it is known to have been led in.
    led_in: Term,
    /// Damage was found in it before, and it was not made anew since.
    damaged: bool,
    /// Counts the changes of its placement.
    generation: u64,
}

impl Wanted {
    fn circumstances(&self) -> Circumstances {
        (self.generation, self.damaged)
    }
}

impl Owner {
    pub(crate) fn new(
        env: Env,
        storage: Storage,
        peers: Peers,
        timing: GroupTiming,
        view: ClusterView,
        defaults: Defaults,
        publish: watch::Sender<Published>,
    ) -> Self {
        let (hosted, retries, traffic) = (BTreeMap::new(), Retries::default(), Traffic::default());
        Self { env, storage, peers, timing, view, defaults, traffic, hosted, retries, publish }
    }

    /// What goes through the topics here.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// Clears away what a crash left, then opens and publishes what there is.
    pub(crate) async fn begin(&mut self) {
        self.sweep().await;
        self.follow().await;
    }

    /// Follows the metadata until they end.
    pub(crate) async fn run(mut self) {
        let mut metadata = self.view.metadata.follow();
        loop {
            metadata.borrow_and_update();
            self.withdraw().await;
            self.follow().await;
            // What could not be opened is tried again.
            let again = async {
                match self.retries.next() {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = metadata.changed() => if changed.is_err() { return },
                () = self.failure() => {}
                () = again => {}
            }
        }
    }

    /// Returns once a partition has failed, or has found damage while it takes part in its group.
    async fn failure(&self) {
        let mut looks = interval(FAILURE_LOOK_INTERVAL);
        loop {
            looks.tick().await;
            if self.open_partitions().any(|(_, partition)| Failure::of(partition).is_some()) {
                return;
            }
        }
    }

    fn open_partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.hosted.iter().filter_map(|(id, slot)| match slot {
            Slot::Open(partition) => Some((*id, partition)),
            Slot::Failed(_) | Slot::Elsewhere => None,
        })
    }

    /// Takes what is damaged out of its group, and lets go of what has failed, so that it can be opened again.
    async fn withdraw(&mut self) {
        let failures = self.open_partitions().filter_map(|(id, partition)| {
            let failure = Failure::of(partition)?;
            Some((id, failure, partition.clone()))
        });
        let failures: Vec<_> = failures.collect();
        let damaged = failures.iter().filter(|(_, failure, _)| *failure == Failure::Damaged);
        drop(join_all(damaged.map(|(id, _, partition)| stand_down(*id, partition))).await);
        for (id, failure, partition) in failures {
            if failure == Failure::Stopped {
                tracing::error!(partition_id = %id, "partition has failed: it is opened again");
                partition.stop().await;
                let error = Arc::new(OpenReplicaError::Failed { id });
                self.hosted.insert(id, Slot::Failed(error));
            }
        }
    }

    /// Makes what lies here, and what is published, as the metadata are now. Where many partitions are to be opened those that
    /// are open are published meanwhile, and the metadata looked at again.
    async fn follow(&mut self) {
        loop {
            let state = self.view.state();
            let metadata = &state.0;
            let before = self.publish.borrow().clone();
            // Whoever reads a topic that is gone hears that first; its files go last.
            for (name, topic) in before.topics.iter() {
                let same = metadata.topic(name.as_str()).is_some_and(|now| is_same(&topic.described, now));
                if !same {
                    topic.delete();
                }
            }
            let mut missing = self.missing(self.wanted(metadata), &before.topics);
            let is_last = missing.len() <= OPENING_PORTION;
            if !is_last && before.listed < metadata.revision() {
                self.publish(metadata, false);
            }
            missing.truncate(OPENING_PORTION);
            self.open(missing).await;
            self.publish(metadata, is_last);
            if is_last {
                return self.give_up(metadata).await;
            }
        }
    }

    /// Publishes the topics as of these metadata. `is_done`: all that is to be opened here is.
    fn publish(&self, metadata: &Metadata, is_done: bool) {
        let before = self.publish.borrow().clone();
        let topics = metadata.topics().filter_map(|(name, described)| {
            let name = TopicName::new(name).ok()?;
            let topic = self.topic(&name, described, before.topics.get(&name));
            Some((name, topic))
        });
        let topics = Arc::new(topics.collect::<TopicMap>());
        let listed = metadata.revision();
        let done = if is_done { listed } else { before.done };
        drop(self.publish.send_replace(Published { listed, done, topics }));
    }

    fn wanted(&self, metadata: &Metadata) -> BTreeMap<PartitionId, Wanted> {
        let this = self.view.this();
        let mut wanted = BTreeMap::new();
        for (name, described) in metadata.topics() {
            let Ok(topic) = TopicName::new(name) else { continue };
            let effective = self.defaults.apply(&described.settings);
            for id in &described.partitions {
                let Some(placement) = metadata.placement(*id) else { continue };
                if placement.hosts(this) {
                    let initial = placement.initial.contains(&this);
                    let voters =
                        if initial { placement.initial.iter().copied().collect() } else { BTreeSet::new() };
                    let damaged = placement.damaged.contains(&this);
                    let partition = Wanted {
                        id: *id,
                        topic: topic.clone(),
                        effective,
                        first_leader: placement.initial.first().copied().filter(|_| initial),
                        voters,
                        led_in: placement.term,
                        damaged,
                        generation: placement.generation,
                    };
                    wanted.insert(*id, partition);
                }
            }
        }
        wanted
    }

    /// What is wanted and not open, and due. What is open is altered.
    fn missing(&self, wanted: BTreeMap<PartitionId, Wanted>, before: &TopicMap) -> Vec<Wanted> {
        let mut missing = Vec::new();
        for (id, wanted) in wanted {
            match self.hosted.get(&id) {
                Some(Slot::Open(partition)) => {
                    let known = before.get(&wanted.topic).map(|topic| topic.effective);
                    if known != Some(wanted.effective) {
                        partition.alter(&wanted.effective.partition());
                    }
                }
                _ if !self.retries.is_due(id, wanted.circumstances()) => {}
                _ => missing.push(wanted),
            }
        }
        missing
    }

    /// Opens partitions, several at a time.
    async fn open(&mut self, missing: Vec<Wanted>) {
        let this = &*self;
        let opened: Vec<_> = stream::iter(missing)
            .map(|wanted| async move {
                let circumstances = wanted.circumstances();
                (wanted.id, circumstances, this.open_one(wanted).await)
            })
            .buffer_unordered(OPENING_MAX)
            .collect()
            .await;
        for (id, circumstances, slot) in opened {
            match slot {
                Slot::Failed(_) => self.retries.failed(id, circumstances),
                Slot::Open(_) | Slot::Elsewhere => self.retries.forget(id),
            }
            self.hosted.insert(id, slot);
        }
    }

    async fn open_one(&self, wanted: Wanted) -> Slot {
        let Wanted { id, topic, effective, voters, first_leader, led_in, damaged, .. } = wanted;
        let settings = effective.partition();
        let group = GroupSettings { timing: self.timing, voters, first_leader, led_in };
        let opened = if damaged {
            Partition::open_damaged(&self.env, &self.storage, id, settings).await
        } else {
            Partition::join(&self.env, &self.storage, id, &self.peers, settings, &group).await
        };
        match opened {
            Ok(partition) => {
                if let Some(damage) = partition.status().damage {
                    tracing::error!(%topic, partition_id = %id, %damage, "partition is damaged here: it serves what is sound, takes nothing, and is to be made anew");
                }
                Slot::Open(partition)
            }
            Err(error) => {
                tracing::error!(%topic, partition_id = %id, %error, "partition could not be opened");
                Slot::Failed(Arc::new(error))
            }
        }
    }

    /// The topic as it is now; the one before where nothing changed.
    fn topic(
        &self,
        name: &TopicName,
        described: &varve_controller::Topic,
        before: Option<&Arc<Topic>>,
    ) -> Arc<Topic> {
        let slot = |id: &PartitionId| self.hosted.get(id).cloned().unwrap_or(Slot::Elsewhere);
        let slots: Vec<Slot> = described.partitions.iter().map(slot).collect();
        let effective = self.defaults.apply(&described.settings);
        match before.filter(|before| is_same(&before.described, described)) {
            Some(before) if before.described == *described && before.has(&slots) => Arc::clone(before),
            Some(before) => Arc::new(before.altered(described.clone(), effective, slots)),
            None => Arc::new(Topic::new(
                name.clone(),
                described.clone(),
                effective,
                slots,
                self.traffic.of_topic(),
            )),
        }
    }

    /// Stops what this node is no longer to have, and gives its space back.
    async fn give_up(&mut self, metadata: &Metadata) {
        let this = self.view.this();
        let kept = |id: &PartitionId| metadata.placement(*id).is_some_and(|placement| placement.hosts(this));
        let gone: Vec<PartitionId> = self.hosted.keys().copied().filter(|id| !kept(id)).collect();
        for id in gone {
            let Some(slot) = self.hosted.remove(&id) else { continue };
            self.retries.forget(id);
            let damaged = match &slot {
                Slot::Open(partition) => {
                    partition.stop().await;
                    partition.damage().is_some()
                }
                Slot::Failed(_) => true,
                Slot::Elsewhere => false,
            };
            drop(slot);
            if metadata.was_deleted(id) {
                self.delete(id).await;
            } else if damaged {
                self.set_aside(id).await;
            } else {
                self.remove(id).await;
            }
        }
    }

    /// Whether a partition's log opens, and shows no damage.
    async fn is_sound(&self, id: PartitionId) -> bool {
        let storage = self.storage.clone();
        let opened =
            self.env.blocking.run(move || storage.open_partition(id, PartitionConfig::default())).await;
        opened.is_ok_and(|log| log.damage().is_none())
    }

    /// Removes a partition that is no more.
    async fn delete(&self, id: PartitionId) {
        let storage = self.storage.clone();
        match self.env.blocking.run(move || storage.delete_partition(id)).await {
            Ok(()) | Err(OpenError::NoSuchPartition { .. }) => {}
            Err(error) => {
                tracing::error!(partition_id = %id, %error, "deleted partition's files could not be removed")
            }
        }
    }

    /// Removes a partition that lies on other nodes now, and may come back one day.
    async fn remove(&self, id: PartitionId) {
        let storage = self.storage.clone();
        match self.env.blocking.run(move || storage.remove_partition(id)).await {
            Ok(()) => {
                tracing::info!(partition_id = %id, "partition lies on other nodes now: its files here are removed")
            }
            Err(OpenError::NoSuchPartition { .. }) => {}
            Err(error) => {
                tracing::error!(partition_id = %id, %error, "partition's files could not be removed")
            }
        }
    }

    /// Keeps what is damaged for whoever wants to look at it, out of the way of the copy to come.
    async fn set_aside(&self, id: PartitionId) {
        let storage = self.storage.clone();
        match self.env.blocking.run(move || storage.quarantine_partition(id)).await {
            Ok(dir) => {
                tracing::warn!(partition_id = %id, dir = %dir.display(), "damaged partition is set aside")
            }
            Err(OpenError::NoSuchPartition { .. }) => {}
            Err(error) => {
                tracing::error!(partition_id = %id, %error, "damaged partition could not be set aside")
            }
        }
    }

    /// Removes what is left of partitions that the metadata say lie here no more: a crash came between. Other directories
    /// that no topic knows are named and left alone: data is never deleted because metadata is missing.
    async fn sweep(&self) {
        let storage = self.storage.clone();
        let ids = match self.env.blocking.run(move || storage.partition_ids()).await {
            Ok(ids) => ids,
            Err(error) => return tracing::error!(%error, "partitions on the disk could not be listed"),
        };
        let state = self.view.state();
        let this = self.view.this();
        for id in ids.into_iter().filter(|id| *id != Metadata::CONTROLLER) {
            match state.0.placement(id) {
                Some(placement) if placement.hosts(this) => {}
                // It may have been damaged: nobody has looked since.
                Some(_) if !self.is_sound(id).await => self.set_aside(id).await,
                Some(_) => self.remove(id).await,
                None if state.0.was_deleted(id) => self.delete(id).await,
                None => {
                    tracing::warn!(partition_id = %id, "partition on the disk belongs to no topic: it is left as it is")
                }
            }
        }
    }
}

/// What keeps a partition from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It has found damage, and takes part in its group still.
    Damaged,
    /// It takes part no more, although it is sound as far as is known.
    Stopped,
}

impl Failure {
    fn of(partition: &Partition) -> Option<Self> {
        if partition.damage().is_some() {
            partition.takes_part().then_some(Self::Damaged)
        } else {
            partition.has_stopped().then_some(Self::Stopped)
        }
    }
}

/// Ends the part of a damaged replica in its group, which another then leads. It stays open for what can be read of it.
async fn stand_down(id: PartitionId, partition: &Partition) {
    tracing::error!(partition_id = %id, "partition has found damage: it takes no part in its group any more");
    let mut follower = partition.follow();
    let term = follower.now().term;
    if partition.transfer_leadership(None::<NodeId>).await.is_ok() {
        let led = async { while follower.now().term == term && follower.changed().await.is_ok() {} };
        drop(timeout(DAMAGED_HAND_OVER_TIMEOUT, led).await);
    }
    partition.stop().await;
}

/// Whether it is the same topic, altered at most: numbers of partitions are never used twice.
fn is_same(before: &varve_controller::Topic, now: &varve_controller::Topic) -> bool {
    before.partitions.first() == now.partitions.first()
}

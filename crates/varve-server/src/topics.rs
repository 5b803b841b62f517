//! What topics there are, and the handles to the partitions that lie here.
//!
//! The metadata say what there is. One task, the [owner], makes this node's partitions follow them, and publishes the
//! topics with their handles; everybody else reads what it published. A change is a command for the metadata, and is done
//! when the owner has published what came of it here.

mod defaults;
mod machine;
mod owner;
mod producer_ids;
mod retries;
mod topic;

pub(crate) use defaults::{Defaults, Effective};
pub(crate) use machine::{MetadataLog, MetadataMachine};
pub(crate) use producer_ids::{Claim, NamedError, ProducerIds};
pub(crate) use topic::{Slot, Topic};

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_authz::Action;
use varve_controller::{Command, Response, SettingsChange, TopicSettings};
use varve_env::Env;
use varve_record::Timestamp;
use varve_replica::{GroupTiming, Peers};
use varve_storage::Storage;

use crate::cluster::ClusterView;
use crate::drain::Drain;
use crate::error::{command_error, metadata_error, timed_out};
use crate::limits::{CHANGE_TIMEOUT, FIRST_LEADER_TIMEOUT, METADATA_TIMEOUT};
use crate::security::Call;
use crate::telemetry::Traffic;
use owner::Owner;

/// The topics by name, in order.
pub(crate) type TopicMap = BTreeMap<TopicName, Arc<Topic>>;

/// The topics as of a revision of the metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// The revision whose topics these are.
    listed: u64,
    /// The last one of which every partition was opened that is to lie here, or could not be.
    done: u64,
    topics: Arc<TopicMap>,
}

/// The topics as this node knows them. A clone is another handle on them.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    env: Env,
    view: ClusterView,
    defaults: Defaults,
    published: watch::Receiver<Published>,
    auto_create: bool,
    traffic: Traffic,
}

/// A topic to make.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic {
    pub(crate) name: TopicName,
    /// `None` for the server's default.
    pub(crate) partitions: Option<u32>,
    /// `None` for the server's default.
    pub(crate) replication_factor: Option<u32>,
    pub(crate) settings: TopicSettings,
}

impl NewTopic {
    /// A topic of which only the name is known.
    pub(crate) fn named(name: TopicName) -> Self {
        Self { name, partitions: None, replication_factor: None, settings: TopicSettings::default() }
    }
}

impl Topics {
    /// Opens every partition that the metadata give to this node. One that cannot be opened is reported, and stops nobody
    /// else. The future that comes with the topics makes them follow the metadata, for ever.
    pub(crate) async fn open(
        env: Env,
        storage: Storage,
        peers: Peers,
        timing: GroupTiming,
        view: ClusterView,
        defaults: Defaults,
        auto_create: bool,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (publish, published) = watch::channel(Published::default());
        let mut owner =
            Owner::new(env.clone(), storage, peers, timing, view.clone(), defaults.clone(), publish);
        owner.begin().await;
        let traffic = owner.traffic();
        (Self { env, view, defaults, published, auto_create, traffic }, owner.run())
    }

    /// What goes through the topics here.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Every topic as it is now.
    pub(crate) fn all(&self) -> Arc<TopicMap> {
        Arc::clone(&self.published.borrow().topics)
    }

    /// A topic that is known here.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Topic>> {
        self.published.borrow().topics.get(name).cloned()
    }

    /// A topic that exists. Where it is not known here, the controller is asked whether it has just been made.
    pub(crate) async fn get(&self, name: &str) -> Result<Arc<Topic>, ApiError> {
        if let Some(topic) = self.known(name) {
            return Ok(topic);
        }
        let name = TopicName::new(name)?;
        self.catch_up().await?;
        self.known(name.as_str()).ok_or_else(|| not_found(&name, self.auto_create))
    }

    /// A topic, made first where there is none, the server makes topics by itself, and the caller may make it.
    pub(crate) async fn get_or_create(&self, call: &Call, name: &str) -> Result<Arc<Topic>, ApiError> {
        match self.get(name).await {
            Err(error) if error.reason == Reason::TopicNotFound && self.auto_create => {
                call.authorize(Action::Create, name).await?;
                self.ensure(NewTopic::named(TopicName::new(name)?)).await
            }
            found => found,
        }
    }

    /// A topic, made first where there is none.
    pub(crate) async fn ensure(&self, new: NewTopic) -> Result<Arc<Topic>, ApiError> {
        let name = new.name.clone();
        match self.create(new).await {
            // Another was faster, here or elsewhere.
            Err(error) if error.reason == Reason::TopicExists => self.get(name.as_str()).await,
            made => made,
        }
    }

    /// Makes a topic, and waits for a moment until its partitions have leaders.
    pub(crate) async fn create(&self, new: NewTopic) -> Result<Arc<Topic>, ApiError> {
        let command = Command::CreateTopic {
            topic: new.name.as_str().to_owned(),
            partitions: new.partitions.unwrap_or(self.defaults.partitions),
            replication_factor: new.replication_factor.unwrap_or(self.defaults.replication_factor),
            created_ms: Timestamp::new(self.env.clock.now_unix_ms()),
            settings: new.settings,
            alive: self.view.alive().into_iter().collect(),
        };
        self.change(command).await?;
        // A topic is made all the same where its partitions have no leaders yet, or are not all open.
        let until = Instant::now() + FIRST_LEADER_TIMEOUT;
        drop(timeout_at(until, self.opened()).await);
        let topic = self.known(new.name.as_str()).ok_or_else(|| not_found(&new.name, false))?;
        if let Some(failure) = topic.failure() {
            return Err(failure);
        }
        drop(timeout_at(until, self.led(&topic)).await);
        tracing::info!(topic = %topic.name, partitions = topic.partition_count(), "topic created");
        Ok(topic)
    }

    /// Changes a topic.
    pub(crate) async fn alter(
        &self,
        name: TopicName,
        partitions: Option<u32>,
        settings: SettingsChange,
    ) -> Result<Arc<Topic>, ApiError> {
        let alive = self.view.alive().into_iter().collect();
        let command = Command::AlterTopic { topic: name.as_str().to_owned(), partitions, settings, alive };
        self.change(command).await?;
        drop(timeout(FIRST_LEADER_TIMEOUT, self.opened()).await);
        let topic = self.known(name.as_str()).ok_or_else(|| not_found(&name, false))?;
        tracing::info!(topic = %topic.name, partitions = topic.partition_count(), "topic altered");
        topic.failure().map_or(Ok(topic), Err)
    }

    /// Deletes a topic with its records.
    pub(crate) async fn delete(&self, name: TopicName) -> Result<(), ApiError> {
        self.change(Command::DeleteTopic { topic: name.as_str().to_owned() }).await?;
        tracing::info!(topic = %name, "topic deleted");
        Ok(())
    }

    /// Ends every partition: what was handed over to it is appended, and no more is taken.
    pub(crate) fn close(&self) {
        for topic in self.all().values() {
            topic.close();
        }
    }

    /// Ends every partition, and its part in its group.
    pub(crate) async fn stop(&self) {
        let all = self.all();
        let slots = all.values().flat_map(|topic| topic.slots());
        let partitions = slots.filter_map(|(_, _, slot)| match slot {
            Slot::Open(partition) => Some(partition.clone()),
            Slot::Failed(_) | Slot::Elsewhere => None,
        });
        let stops = partitions.map(|partition| async move { partition.stop().await });
        drop(join_all(stops).await);
    }

    /// Proposes a change to the metadata, and waits until the topics that came of it are published here, open or not.
    pub(crate) async fn change(&self, command: Command) -> Result<Response, ApiError> {
        let change = async {
            let response = self.view.metadata.propose(command).boxed().await.map_err(command_error)?;
            let response = response.map_err(metadata_error)?;
            self.listed().await?;
            Ok(response)
        };
        let in_time = timeout(CHANGE_TIMEOUT, change).await;
        in_time.unwrap_or_else(|_| Err(timed_out("the change", CHANGE_TIMEOUT)))
    }

    /// Returns once all is published that the controller's leader knew when this was called.
    async fn catch_up(&self) -> Result<(), ApiError> {
        let unknown = || {
            ApiError::new(
                Reason::NoLeader,
                "the controller has no leader at present, so that nobody can say whether there is such a topic: wait",
            )
        };
        let caught_up = async {
            self.view.metadata.linearize().boxed().await.map_err(|_| unknown())?;
            self.listed().await
        };
        timeout(METADATA_TIMEOUT, caught_up).await.unwrap_or_else(|_| Err(unknown()))
    }

    /// Returns once the topics are published that are known of now.
    async fn listed(&self) -> Result<(), ApiError> {
        let revision = self.view.state().0.revision();
        let mut published = self.published.clone();
        let listed = published.wait_for(|published| published.listed >= revision).await;
        listed.map(drop).map_err(|_| Drain::error())
    }

    /// Returns once all of them that are to lie here are open, or could not be opened.
    async fn opened(&self) {
        let revision = self.view.state().0.revision();
        drop(self.published.clone().wait_for(|published| published.done >= revision).await);
    }

    /// Returns once every partition of a topic is known to have a leader.
    async fn led(&self, topic: &Topic) {
        let mut metadata = self.view.metadata.follow();
        for (_, id, _) in topic.slots() {
            let led = |state: &Arc<MetadataMachine>| {
                state.0.placement(id).is_none_or(|placement| placement.leader.is_some())
            };
            drop(metadata.wait_for(led).await);
        }
    }
}

/// There is no such topic.
pub(crate) fn not_found(name: &TopicName, auto_create: bool) -> ApiError {
    let hint = if auto_create { "create it, or produce to it" } else { "create it first" };
    ApiError::new(Reason::TopicNotFound, format!("topic {name} does not exist: {hint}"))
        .with(meta::TOPIC, name)
}

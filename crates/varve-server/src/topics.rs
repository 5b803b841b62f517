//! What topics there are, and the handles to their partitions.
//!
//! One task, the [owner], makes every change, one after the other: that two first produces to a topic make it once, and
//! that a caller who gives up leaves no topic half made, follows from that. Everybody else reads what it published.

mod defaults;
mod machine;
mod owner;
mod producer_ids;
mod topic;

pub(crate) use defaults::{Defaults, Effective};
pub(crate) use machine::{MetadataLog, MetadataMachine};
pub(crate) use producer_ids::ProducerIds;
pub(crate) use topic::{Slot, Topic};

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_controller::{SettingsChange, TopicSettings};
use varve_env::Env;
use varve_record::NodeId;
use varve_storage::Storage;

use crate::TOPIC_CHANGES_MAX;
use crate::drain::Drain;
use crate::error::timed_out;
use crate::limits::CHANGE_TIMEOUT;
use owner::{Change, Owner};

/// The topics by name, in order.
pub(crate) type TopicMap = BTreeMap<TopicName, Arc<Topic>>;

/// The topics of this node. A clone is another handle on them.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    published: watch::Receiver<Arc<TopicMap>>,
    changes: mpsc::Sender<Change>,
    auto_create: bool,
}

/// A topic to make.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic {
    pub(crate) name: TopicName,
    /// `None` for the server's default.
    pub(crate) partitions: Option<u32>,
    pub(crate) replication_factor: u32,
    pub(crate) settings: TopicSettings,
}

impl NewTopic {
    /// A topic of which only the name is known.
    pub(crate) fn named(name: TopicName) -> Self {
        Self { name, partitions: None, replication_factor: 1, settings: TopicSettings::default() }
    }
}

impl Topics {
    /// Opens every partition that the metadata name. One that cannot be opened is reported, and stops nobody else. Changes
    /// are made by the future that comes with the topics, which ends when nobody can ask for any.
    pub(crate) async fn open(
        env: Env,
        storage: Storage,
        node: NodeId,
        metadata: MetadataLog,
        defaults: Defaults,
        auto_create: bool,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (publish, published) = watch::channel(Arc::new(TopicMap::new()));
        let owner = Owner::new(env, storage, node, metadata, defaults, publish);
        owner.open_all().await;
        let (changes, queue) = mpsc::channel(TOPIC_CHANGES_MAX);
        (Self { published, changes, auto_create }, owner.run(queue))
    }

    /// Every topic as it is now.
    pub(crate) fn all(&self) -> Arc<TopicMap> {
        Arc::clone(&self.published.borrow())
    }

    /// A topic that exists.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Topic>, ApiError> {
        match self.published.borrow().get(name) {
            Some(topic) => Ok(Arc::clone(topic)),
            None => Err(not_found(&TopicName::new(name)?, self.auto_create)),
        }
    }

    /// A topic, made first where there is none and the server may make it.
    pub(crate) async fn get_or_create(&self, name: &str) -> Result<Arc<Topic>, ApiError> {
        match self.get(name) {
            Err(error) if error.reason == Reason::TopicNotFound && self.auto_create => {
                self.ensure(NewTopic::named(TopicName::new(name)?)).await
            }
            found => found,
        }
    }

    /// A topic, made first where there is none.
    pub(crate) async fn ensure(&self, new: NewTopic) -> Result<Arc<Topic>, ApiError> {
        self.change(|answer| Change::Ensure { new, answer }).await
    }

    /// Makes a topic.
    pub(crate) async fn create(&self, new: NewTopic) -> Result<Arc<Topic>, ApiError> {
        self.change(|answer| Change::Create { new, answer }).await
    }

    /// Changes a topic.
    pub(crate) async fn alter(
        &self,
        name: TopicName,
        partitions: Option<u32>,
        settings: SettingsChange,
    ) -> Result<Arc<Topic>, ApiError> {
        self.change(|answer| Change::Alter { name, partitions, settings, answer }).await
    }

    /// Deletes a topic with its records.
    pub(crate) async fn delete(&self, name: TopicName) -> Result<(), ApiError> {
        self.change(|answer| Change::Delete { name, answer }).await
    }

    /// Tries again to open the partitions that could not be opened.
    pub(crate) async fn reopen_failed(&self) {
        if self.all().values().any(|topic| topic.has_failed()) {
            // Where the owner is gone the node is stopping.
            drop(self.changes.send(Change::Reopen).await);
        }
    }

    /// Ends every partition: what was handed over to it is appended, and no more is taken.
    pub(crate) fn close(&self) {
        for topic in self.all().values() {
            topic.close();
        }
    }

    async fn change<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Change,
    ) -> Result<T, ApiError> {
        let (answer, outcome) = oneshot::channel();
        let exchange = async {
            self.changes.send(make(answer)).await.map_err(|_| Drain::error())?;
            outcome.await.unwrap_or_else(|_| {
                Err(ApiError::new(Reason::CommitUnknown, "the server stopped before the change was done"))
            })
        };
        let in_time = tokio::time::timeout(CHANGE_TIMEOUT, exchange).await;
        in_time.unwrap_or_else(|_| Err(timed_out("the change", CHANGE_TIMEOUT)))
    }
}

/// There is no such topic.
pub(crate) fn not_found(name: &TopicName, auto_create: bool) -> ApiError {
    let hint = if auto_create { "create it, or produce to it" } else { "create it first" };
    ApiError::new(Reason::TopicNotFound, format!("topic {name} does not exist: {hint}"))
        .with(meta::TOPIC, name)
}

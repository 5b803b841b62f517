use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::Env;

use crate::attempts::Attempts;
use crate::picker::{PickLeader, Picker};
use crate::resolver::Resolver;
use crate::topics::{TopicMap, Topics};
use crate::{ClientBuilder, ClientError, ClusterAddress};

/// A client of a cluster. Clones share its connections and what it knows; make one for a process.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    resolver: Resolver,
    topics: Topics,
    options: ClientBuilder,
}

/// The partition that a call is about, and what of it is needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) topic: &'a TopicName,
    pub(crate) partition: u32,
    pub(crate) needs_leader: bool,
}

impl Client {
    /// A client with its options at their defaults; see [`Client::builder`] for others.
    ///
    /// `address` is `varve://host:port[,host:port...]`, any members of the cluster.
    ///
    /// # Errors
    /// If the address names no cluster, or none of its members answers within 30 seconds.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        Self::builder().connect(address).await
    }

    /// Options for a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) async fn open(address: ClusterAddress, options: ClientBuilder) -> Result<Self, ClientError> {
        let inner = Inner { resolver: Resolver::new(&address), topics: Topics::default(), options };
        let client = Self { inner: Arc::new(inner) };
        client.greet().await?;
        Ok(client)
    }

    /// Finds a server that answers. One that belongs to no cluster yet will do: it may be about to be made one.
    async fn greet(&self) -> Result<(), ApiError> {
        let call = |channel| async move {
            match cluster_service(channel).get_servers(v1::GetServersRequest {}).await {
                Err(status) if ApiError::from_status(&status).reason == Reason::NotInitialized => {
                    Ok(Response::new(v1::GetServersResponse::default()))
                }
                answer => answer,
            }
        };
        let (servers, answered_by) = self.call_any_until(self.deadline(), true, call).await?;
        self.inner.resolver.update(servers, &answered_by);
        Ok(())
    }

    /// The members of the cluster, asked for anew. What is learnt is used from then on.
    ///
    /// # Errors
    /// If no server answers within the call timeout.
    pub async fn servers(&self) -> Result<v1::GetServersResponse, ClientError> {
        Ok(self.learn_servers(self.deadline()).await?)
    }

    async fn learn_servers(&self, deadline: Instant) -> Result<v1::GetServersResponse, ApiError> {
        let call =
            |channel| async move { cluster_service(channel).get_servers(v1::GetServersRequest {}).await };
        let (servers, answered_by) = self.call_any_until(deadline, true, call).await?;
        self.inner.resolver.update(servers.clone(), &answered_by);
        Ok(servers)
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inner.options.env
    }

    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.inner.options.attempt_timeout
    }

    pub(crate) fn attempts(&self, deadline: Instant) -> Attempts {
        Attempts::new(deadline, self.attempt_timeout(), self.env().entropy.clone())
    }

    /// When a call that begins now has to be through.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.inner.options.call_timeout
    }

    /// Calls any server, and another when it fails, as the table of errors allows.
    pub(crate) async fn call_any<T, F, Fut>(&self, idempotent: bool, call: F) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        Ok(self.call_any_until(self.deadline(), idempotent, call).await?.0)
    }

    /// As [`Client::call_any`], and tells which server answered.
    async fn call_any_until<T, F, Fut>(
        &self,
        deadline: Instant,
        idempotent: bool,
        call: F,
    ) -> Result<(T, String), ApiError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let mut attempts = self.attempts(deadline);
        let mut leader: Option<String> = None;
        loop {
            let addr = leader.take().unwrap_or_else(|| self.inner.resolver.any());
            match self.attempt(&addr, attempts.timeout(), &call).await {
                Ok(answer) => return Ok((answer, addr)),
                Err(error) => {
                    self.inner.resolver.failed(&addr);
                    leader = leader_of(&error);
                    attempts.after(error, idempotent).await?;
                }
            }
        }
    }

    /// Calls a server of a partition, and the right one when it was not, as the table of errors allows.
    pub(crate) async fn call_partition<T, F, Fut>(
        &self,
        target: Target<'_>,
        idempotent: bool,
        deadline: Instant,
        call: F,
    ) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let mut attempts = self.attempts(deadline);
        loop {
            let error = match self.locate(target, deadline).await {
                Err(error) => error,
                Ok(addr) => match self.attempt(&addr, attempts.timeout(), &call).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => self.note(target, error),
                },
            };
            attempts.after(error, idempotent).await?;
        }
    }

    /// One attempt of a call.
    pub(crate) async fn attempt<T, F, Fut>(
        &self,
        addr: &str,
        timeout: Duration,
        call: &F,
    ) -> Result<T, ApiError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let channel = self.inner.resolver.channel(addr, &self.inner.options)?;
        let answer = tokio::time::timeout(timeout, call(channel)).await;
        let answer = answer.map_err(|_| {
            ApiError::new(Reason::Deadline, format!("{addr} gave no answer within {timeout:?}; try again"))
        })?;
        answer.map(Response::into_inner).map_err(|status| at(addr, ApiError::from_status(&status)))
    }

    /// The server to call about a partition.
    pub(crate) async fn locate(&self, target: Target<'_>, deadline: Instant) -> Result<String, ApiError> {
        let Target { topic, partition, needs_leader } = target;
        let map = match self.inner.topics.get(topic) {
            Some(map) => map,
            None => self.learn_topic(topic, false, deadline).await?,
        };
        let Some(servers) = map.partitions.get(partition as usize) else {
            return Err(partition_not_found(topic, partition, map.partitions.len()));
        };
        let picker: &dyn Picker = if needs_leader { &PickLeader } else { &*self.inner.options.read_picker };
        picker.pick(servers).map(Into::into).ok_or_else(|| {
            self.inner.topics.doubt(topic);
            ApiError::new(Reason::NoLeader, format!("{topic}/{partition} has no server at present; wait"))
        })
    }

    /// Draws from an error what it says about where a partition is.
    pub(crate) fn note(&self, target: Target<'_>, error: ApiError) -> ApiError {
        match (error.reason, error.get(meta::LEADER_ADDR)) {
            (Reason::NotLeader, Some(leader)) => {
                self.inner.topics.learn_leader(target.topic, target.partition, leader);
            }
            _ if error.reason.code() == tonic::Code::Unavailable || error.reason == Reason::Deadline => {
                self.inner.topics.doubt(target.topic);
            }
            _ => {}
        }
        error
    }

    /// The partitions of a topic, from memory if they are known; `create` makes the topic where the server lets us.
    pub(crate) async fn topic_map(
        &self,
        topic: &TopicName,
        create: bool,
    ) -> Result<Arc<TopicMap>, ClientError> {
        match self.inner.topics.get(topic) {
            Some(map) => Ok(map),
            None => Ok(self.learn_topic(topic, create, self.deadline()).await?),
        }
    }

    async fn learn_topic(
        &self,
        topic: &TopicName,
        create: bool,
        deadline: Instant,
    ) -> Result<Arc<TopicMap>, ApiError> {
        // Addresses first: the topic names its servers by id.
        self.learn_servers(deadline).await?;
        let request = v1::DescribeTopicRequest { name: topic.to_string(), create_missing: create };
        let call = |channel| {
            let request = request.clone();
            async move { cluster_service(channel).describe_topic(request).await }
        };
        let (answer, _) = self.call_any_until(deadline, true, call).await?;
        Ok(self.inner.topics.learn(topic, &answer.topic.unwrap_or_default(), &self.inner.resolver))
    }

    /// The partitions of a topic as they were known last, and whether there is reason to ask again.
    pub(crate) fn last_topic_map(&self, topic: &TopicName) -> Option<(Arc<TopicMap>, bool)> {
        match self.inner.topics.get(topic) {
            Some(map) => Some((map, false)),
            None => Some((self.inner.topics.get_last(topic)?, true)),
        }
    }

    pub(crate) fn doubt_topic(&self, topic: &TopicName) {
        self.inner.topics.doubt(topic);
    }
}

/// The client of `varve.v1.LogService` on a channel, with our limits.
pub(crate) fn log_service(channel: Channel) -> LogServiceClient<Channel> {
    LogServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The client of `varve.v1.ClusterService` on a channel, with our limits.
pub(crate) fn cluster_service(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Adds to an error of the transport whom it was about; what the server itself said is left as it is.
pub(crate) fn at(addr: &str, error: ApiError) -> ApiError {
    match error.reason {
        Reason::Unreachable => ApiError {
            message: format!("no connection to {addr}: {}; check that the server runs there", error.message),
            ..error
        },
        Reason::ConnectionLost => {
            ApiError { message: format!("connection to {addr} broke: {}", error.message), ..error }
        }
        _ => error,
    }
}

pub(crate) fn partition_not_found(topic: &TopicName, partition: u32, partitions: usize) -> ApiError {
    let message = format!("{topic} has no partition {partition}, only 0 to {}", partitions.saturating_sub(1));
    ApiError::new(Reason::PartitionNotFound, message)
        .with(meta::TOPIC, topic)
        .with(meta::PARTITION, partition)
        .with(meta::PARTITIONS, partitions)
}

fn leader_of(error: &ApiError) -> Option<String> {
    (error.reason == Reason::NotLeader).then(|| error.get(meta::LEADER_ADDR).map(Into::into))?
}

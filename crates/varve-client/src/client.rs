use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Response, Status};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::debug_service_client::DebugServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::Env;

use crate::attempts::Attempts;
use crate::connection::{Connection, OutstandingCall};
use crate::failure::is_of_one_server;
use crate::picker::Picker;
use crate::resolver::{Resolver, Watcher};
use crate::topics::{Placement, TopicMap, Topics};
use crate::{ClientBuilder, ClientError, ClusterAddress};

/// How long a server may take to say who leads, when it is asked because another gives no answer.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of a cluster. Clones share its connections and what it knows; make one for a process.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    resolver: Arc<Resolver>,
    /// Follows the servers for as long as there is a clone of the client.
    _watcher: Watcher,
    topics: Topics,
    options: ClientBuilder,
}

/// The partition that a call is about, and which of its servers may serve it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) topic: &'a TopicName,
    pub(crate) partition: u32,
    pub(crate) replica: Replica<'a>,
}

/// Which of a partition's servers may serve a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Replica<'a> {
    Leader,
    Any(&'a dyn Picker),
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

    pub(crate) fn open(
        address: ClusterAddress,
        options: ClientBuilder,
    ) -> BoxFuture<'static, Result<Self, ClientError>> {
        async move {
            let resolver = Arc::new(Resolver::new(&address, options.clone()));
            let attempts = Attempts::new(Instant::now() + options.call_timeout, &options);
            greet(&resolver, attempts).await?;
            let inner = Inner {
                _watcher: Watcher::start(resolver.clone()),
                resolver,
                topics: Topics::default(),
                options,
            };
            Ok(Self { inner: Arc::new(inner) })
        }
        .boxed()
    }

    /// The members of the cluster, asked for anew.
    ///
    /// # Errors
    /// `NOT_INITIALIZED` if the server belongs to no cluster yet, or as any call.
    pub async fn servers(&self) -> Result<v1::GetServersResponse, ClientError> {
        Ok(self.learn_servers(self.deadline()).await?)
    }

    async fn learn_servers(&self, deadline: Instant) -> Result<v1::GetServersResponse, ApiError> {
        let call = |connection| async move {
            cluster_service(connection).get_servers(v1::GetServersRequest {}).await
        };
        let (servers, answered_by) = self.call_any_until(deadline, true, call).await?;
        self.inner.resolver.learn(&servers, &answered_by);
        Ok(servers)
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inner.options.env
    }

    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.inner.options.attempt_timeout
    }

    pub(crate) fn attempts(&self, deadline: Instant) -> Attempts {
        Attempts::new(deadline, &self.inner.options)
    }

    /// When a call that begins now has to be through.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.inner.options.call_timeout
    }

    /// Which replica is read where nothing else is said.
    pub(crate) fn read_picker(&self) -> &Arc<dyn Picker> {
        &self.inner.options.read_picker
    }

    /// The replica to call for a read of this consistency.
    pub(crate) fn replica_for(&self, consistency: i32) -> Replica<'_> {
        match consistency == v1::ReadConsistency::Linearizable as i32 {
            true => Replica::Leader,
            false => Replica::Any(&**self.read_picker()),
        }
    }

    /// Calls any server, and another when it fails, as the table of errors allows.
    pub(crate) async fn call_any<T, F, Fut>(&self, idempotent: bool, call: F) -> Result<T, ClientError>
    where
        F: Fn(Connection) -> Fut,
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
    ) -> Result<(T, Arc<str>), ApiError>
    where
        F: Fn(Connection) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        call_any(&self.inner.resolver, self.attempts(deadline), idempotent, call).await
    }

    /// Calls a server of a partition, and the right one when it was not, as the table of errors allows.
    pub(crate) async fn call_partition<T, F, Fut>(
        &self,
        target: Target<'_>,
        idempotent: bool,
        mut attempts: Attempts,
        call: F,
    ) -> Result<T, ClientError>
    where
        F: Fn(Connection) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            let error = match self.locate(target, attempts.avoided(), attempts.deadline()).await {
                Err(error) => error,
                Ok(addr) => match self.attempt(&addr, attempts.timeout(), &call).await {
                    Ok((answer, _)) => return Ok(answer),
                    Err(error) => {
                        attempts.avoid(&addr);
                        self.note(target, error)
                    }
                },
            };
            if self.may_go_elsewhere(target, &error, attempts.avoided()) {
                attempts.elsewhere(error)?;
            } else {
                attempts.after(error, idempotent).await?;
            }
        }
    }

    /// One attempt of a call that is meant for this server. The call counts as under way for as long as what comes with
    /// the answer is kept.
    pub(crate) async fn attempt<T, F, Fut>(
        &self,
        addr: &Arc<str>,
        timeout: Duration,
        call: &F,
    ) -> Result<(T, OutstandingCall), ApiError>
    where
        F: Fn(Connection) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        attempt(&self.inner.resolver, addr, timeout, Connection::to_one, call).await
    }

    /// The server to call about a partition, if possible none of those avoided.
    pub(crate) async fn locate(
        &self,
        target: Target<'_>,
        avoided: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Arc<str>, ApiError> {
        let Target { topic, partition, replica } = target;
        let map = self.topic_map_until(topic, false, deadline).await?;
        let Some(placement) = map.partitions.get(partition as usize) else {
            return Err(partition_not_found(topic, partition, map.partitions.len()));
        };
        let resolver = &self.inner.resolver;
        let found = match replica {
            Replica::Leader => resolver.leader_of(placement),
            Replica::Any(picker) => {
                let picked = |servers| picker.pick(&servers).map(|server| server.addr.clone());
                // A picker that wants none of those that seem to work may still have one.
                picked(resolver.servers_of(placement, avoided))
                    .or_else(|| picked(resolver.all_servers_of(placement)))
            }
        };
        found.ok_or_else(|| {
            self.inner.topics.doubt(topic);
            ApiError::new(Reason::NoLeader, format!("{topic}/{partition} has no server at present; wait"))
        })
    }

    /// Whether this is where the leader of a partition is thought to be.
    pub(crate) fn leads(&self, addr: &Arc<str>, target: Target<'_>) -> bool {
        let placement = self.last_placement(target);
        placement.and_then(|placement| self.inner.resolver.leader_of(&placement)).as_ref() == Some(addr)
    }

    /// Whether other servers than these hold a partition, as far as is known.
    pub(crate) fn has_server_besides(&self, target: Target<'_>, addrs: &[Arc<str>]) -> bool {
        self.last_placement(target).is_some_and(|placement| {
            let servers = self.inner.resolver.servers_of(&placement, addrs);
            servers.leader.iter().chain(&servers.followers).any(|server| !addrs.contains(&server.addr))
        })
    }

    /// Whether this is about a server with which there is no TLS, and others than those avoided may serve the call as well.
    pub(crate) fn may_go_elsewhere(
        &self,
        target: Target<'_>,
        error: &ApiError,
        avoided: &[Arc<str>],
    ) -> bool {
        error.reason == Reason::TlsFailed
            && matches!(target.replica, Replica::Any(_))
            && self.has_server_besides(target, avoided)
    }

    fn last_placement(&self, target: Target<'_>) -> Option<Placement> {
        let map = self.inner.topics.get_last(target.topic)?;
        map.partitions.get(target.partition as usize).cloned()
    }

    /// Draws from the error of a server what it says about where a partition is.
    pub(crate) fn note(&self, target: Target<'_>, error: ApiError) -> ApiError {
        let Target { topic, partition, replica } = target;
        match error.reason {
            Reason::NotLeader => {
                self.inner.topics.learn_leader(topic, partition, &error);
                if matches!(replica, Replica::Any(_)) {
                    // It holds no replica, although it was thought to.
                    self.inner.topics.doubt(topic);
                }
            }
            Reason::TopicNotFound | Reason::PartitionNotFound => {
                // Another server has told of it, so that this one may only be behind. If it is gone, the next one that is
                // asked where it is says so.
                self.inner.topics.doubt(topic);
                return ApiError { reason: Reason::NoLeader, ..error };
            }
            Reason::NoLeader => {
                self.inner.topics.doubt(topic);
                // Either nobody leads, or the server and whoever named it are cut off from those who know.
                self.inner.resolver.doubt_current();
            }
            Reason::Deadline | Reason::TlsFailed => self.inner.topics.doubt(topic),
            _ if error.reason.code() == tonic::Code::Unavailable => {
                self.inner.topics.doubt(topic);
            }
            _ => {}
        }
        error
    }

    /// What is said of a call to a server that failed, or of a stream from it.
    pub(crate) fn failure(&self, addr: &str, status: &Status) -> ApiError {
        self.inner.resolver.failure(addr, status)
    }

    /// Takes note of how a stream from a server ended.
    pub(crate) fn stream_ended(&self, addr: &str, error: &ApiError) {
        self.inner.resolver.ended(addr, Some(error));
    }

    /// Waits until a server is said to be gone that was there when this was called.
    pub(crate) fn gone(&self, addr: &Arc<str>) -> impl Future<Output = ()> + Send + use<> {
        self.inner.resolver.gone(addr)
    }

    /// As [`Client::gone`], and also if the server is to be taken away.
    pub(crate) fn out_of_service(&self, addr: &Arc<str>) -> impl Future<Output = ()> + Send + use<> {
        self.inner.resolver.out_of_service(addr)
    }

    /// The partitions of a topic, from memory if they are known; `create` makes the topic where the server lets us.
    pub(crate) async fn topic_map(
        &self,
        topic: &TopicName,
        create: bool,
    ) -> Result<Arc<TopicMap>, ClientError> {
        Ok(self.topic_map_until(topic, create, self.deadline()).await?)
    }

    /// The same, until a deadline. Many who find out together that something has changed ask once: a topic may have a thousand
    /// partitions.
    async fn topic_map_until(
        &self,
        topic: &TopicName,
        create: bool,
        deadline: Instant,
    ) -> Result<Arc<TopicMap>, ApiError> {
        if let Some(map) = self.inner.topics.get(topic) {
            return Ok(map);
        }
        let asking = self.inner.topics.asking(topic);
        let _turn = timeout_at(deadline, asking.lock()).await;
        match self.inner.topics.get(topic) {
            Some(map) => Ok(map),
            None => self.learn_topic(topic, create, deadline).await,
        }
    }

    fn learn_topic<'a>(
        &'a self,
        topic: &'a TopicName,
        create: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Arc<TopicMap>, ApiError>> {
        async move {
            let request = v1::DescribeTopicRequest { name: topic.to_string(), create_missing: create };
            let call = |connection: Connection| {
                let request = request.clone();
                // Where the partitions are led is asked for, and not how far they are.
                async move { cluster_service(connection.for_itself()).describe_topic(request).await }
            };
            let (answer, answered_by) = self.call_any_until(deadline, true, call).await?;
            let map = self.inner.topics.learn(topic, &answer.topic.unwrap_or_default());
            let resolver = &self.inner.resolver;
            if map.lacks_leader() {
                resolver.doubt(&answered_by);
            }
            if !resolver.is_watched() || !resolver.knows_all(map.servers()) {
                self.learn_servers(deadline).await?;
            }
            Ok(map)
        }
        .boxed()
    }

    /// Whether another server than this one leads a partition by now, as some other server says, and learns it. This is for
    /// who waits for an answer that does not come: a server that stands still neither answers nor breaks a connection.
    pub(crate) async fn is_led_elsewhere(&self, target: Target<'_>, addr: &Arc<str>) -> bool {
        let resolver = &self.inner.resolver;
        let Some(other) = resolver.another(addr) else { return false };
        let request = v1::DescribeTopicRequest { name: target.topic.to_string(), create_missing: false };
        let call = |connection| {
            let request = request.clone();
            async move { cluster_service(connection).describe_topic(request).await }
        };
        let answer = attempt(resolver, &other, DOUBT_TIMEOUT, Connection::to_any, &call).await;
        let Ok((v1::DescribeTopicResponse { topic: Some(told), .. }, _)) = answer else { return false };
        let known = self.last_placement(target).unwrap_or_default();
        let placement = TopicMap::new(&told).partitions.into_iter().nth(target.partition as usize);
        let leader = placement.filter(|told| told.is_newer_than(&known));
        let leader = leader.and_then(|placement| resolver.leader_of(&placement));
        if leader.is_none_or(|leader| leader == *addr) {
            return false;
        }
        self.inner.topics.learn(target.topic, &told);
        resolver.doubt(addr);
        true
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

/// Finds a server that answers. One that belongs to no cluster yet will do: it may be about to be made one.
async fn greet(resolver: &Resolver, attempts: Attempts) -> Result<(), ApiError> {
    let call = |connection| async move {
        match cluster_service(connection).get_servers(v1::GetServersRequest {}).await {
            Err(status) if ApiError::from_status(&status).reason == Reason::NotInitialized => {
                Ok(Response::new(v1::GetServersResponse::default()))
            }
            answer => answer,
        }
    };
    let (servers, answered_by) = call_any(resolver, attempts.that_only_look(), true, call).await?;
    resolver.learn(&servers, &answered_by);
    Ok(())
}

/// Calls any server, and another when it fails, as the table of errors allows. Tells which one answered.
async fn call_any<T, F, Fut>(
    resolver: &Resolver,
    mut attempts: Attempts,
    idempotent: bool,
    call: F,
) -> Result<(T, Arc<str>), ApiError>
where
    F: Fn(Connection) -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let mut leader: Option<Arc<str>> = None;
    loop {
        let addr = match leader.take() {
            Some(leader) => leader,
            None => resolver.any().await,
        };
        match attempt(resolver, &addr, attempts.timeout(), Connection::to_any, &call).await {
            Ok((answer, _)) => {
                resolver.answered(&addr);
                return Ok((answer, addr));
            }
            Err(error) => {
                leader = leader_of(&error);
                let was_never_there = matches!(error.reason, Reason::Unreachable | Reason::TlsFailed);
                // What it refuses it refuses for a reason that others have too, unless it is about the server itself.
                let is_its_own = is_of_one_server(&error) && leader.is_none();
                let others_are_left = is_its_own && resolver.failed(&addr);
                if was_never_there && others_are_left {
                    attempts.elsewhere(error)?;
                } else {
                    attempts.after(error, idempotent).await?;
                }
            }
        }
    }
}

async fn attempt<T, F, Fut>(
    resolver: &Resolver,
    addr: &Arc<str>,
    timeout: Duration,
    connection: fn(Channel) -> Connection,
    call: &F,
) -> Result<(T, OutstandingCall), ApiError>
where
    F: Fn(Connection) -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let (channel, outstanding) = resolver.begin(addr)?;
    let connection = connection(channel).told_to(resolver.spans());
    let answer = match tokio::time::timeout(timeout, call(connection)).await {
        Ok(answer) => answer.map_err(|status| resolver.failure(addr, &status)),
        Err(_) => Err(ApiError::new(
            Reason::Deadline,
            format!("{addr} gave no answer within {timeout:?}; try again"),
        )),
    };
    resolver.ended(addr, answer.as_ref().err());
    Ok((answer?.into_inner(), outstanding))
}

/// The client of `varve.v1.LogService` on a connection, with our limits.
pub(crate) fn log_service(connection: Connection) -> LogServiceClient<Connection> {
    LogServiceClient::new(connection)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The client of `varve.v1.ClusterService` on a connection, with our limits.
pub(crate) fn cluster_service(connection: Connection) -> ClusterServiceClient<Connection> {
    ClusterServiceClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// The client of `varve.v1.DebugService` on a connection, with our limits.
pub(crate) fn debug_service(connection: Connection) -> DebugServiceClient<Connection> {
    DebugServiceClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) fn partition_not_found(topic: &TopicName, partition: u32, partitions: usize) -> ApiError {
    let message = format!("{topic} has no partition {partition}, only 0 to {}", partitions.saturating_sub(1));
    ApiError::new(Reason::PartitionNotFound, message)
        .with(meta::TOPIC, topic)
        .with(meta::PARTITION, partition)
        .with(meta::PARTITIONS, partitions)
}

fn leader_of(error: &ApiError) -> Option<Arc<str>> {
    (error.reason == Reason::NotLeader).then(|| error.get(meta::LEADER_ADDR).map(Into::into))?
}

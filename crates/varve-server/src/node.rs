//! The node: put together, started, stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use varve_controller::Metadata;
use varve_env::Env;
use varve_net::{Mux, Protocol};
use varve_storage::Storage;

use crate::drain::Drain;
use crate::error::{FatalError, StartError, StopError};
use crate::grpc::{self, Directory, GrpcConnection, Health, Shared, Workshop};
use crate::limits::CLOSE_TIMEOUT;
use crate::topics::{Defaults, MetadataLog, MetadataMachine, ProducerIds, Topics};
use crate::{NodeConfig, NodeIdentity, housekeeping, http};

/// HTTP/2 connections that wait to be served.
const CONNECTIONS_WAITING_MAX: usize = 16;

/// A running node.
///
/// Dropped without [`Node::shutdown`] it stops at once, as in a crash: what was acknowledged is on the disk, and the next
/// start recovers the rest.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    env: Env,
    identity: NodeIdentity,
    rpc_addr: SocketAddr,
    /// Taken when the node stops, so that the directory is free when the stop is done.
    storage: Option<Storage>,
    topics: Topics,
    health: Health,
    drain: Drain,
    close_connections: CancellationToken,
    stop_serving: CancellationToken,
    serving: JoinHandle<()>,
    /// Tasks that end with the node.
    tasks: JoinSet<()>,
    fatal: watch::Sender<Option<FatalError>>,
}

impl Node {
    /// Opens the data directory, makes the node ready, and serves. Must be called within a Tokio runtime, which the node's
    /// tasks go on to run on.
    ///
    /// # Errors
    /// Whichever step fails first; what the steps before it began is ended again.
    pub async fn start(env: Env, config: NodeConfig) -> Result<Self, StartError> {
        config.check()?;
        let fatal = watch::Sender::new(None);
        let storage = open_storage(&env, &config, &fatal).await?;
        let identity = identify(&env, &storage, &config).await?;
        let metadata = open_metadata(&env, &storage, &identity).await?;
        let (topics, owner) = open_topics(&env, &storage, &identity, &metadata, &config).await;
        let mux = listen(&env, &config).await?;
        let (rpc_addr, close_connections) = (mux.local_addr(), mux.close_token());

        let health = Health::new().await;
        let drain = Drain::default();
        let shared = Shared {
            workshop: Workshop::new(env.blocking),
            env: env.clone(),
            topics: topics.clone(),
            producer_ids: ProducerIds::new(metadata),
            directory: Arc::new(directory(&identity, &config, rpc_addr)),
            drain: drain.clone(),
            room: Arc::new(Semaphore::new(config.produce_bytes_in_flight_max)),
        };
        let routes = grpc::routes(&shared, &health)
            .map_err(|error| StartError::Setup { what: "reflection", reason: error.to_string() })?;
        let (connections, incoming) = mpsc::channel(CONNECTIONS_WAITING_MAX);
        let stop_serving = CancellationToken::new();
        let serving = tokio::spawn(serve(routes, incoming, stop_serving.clone(), fatal.clone()));

        let mut tasks = JoinSet::new();
        tasks.spawn(owner);
        tasks.spawn(dispatch(mux, connections));
        tasks.spawn(housekeeping::run(storage.clone(), topics.clone(), config.retention_interval));
        tasks.spawn(say_when_failed(fatal.subscribe(), health.clone()));

        health.ready().await;
        tracing::info!(%rpc_addr, %identity, data_dir = %config.data_dir.display(), topics = topics.all().len(), "node started");
        Ok(Self {
            config,
            env,
            identity,
            rpc_addr,
            storage: Some(storage),
            topics,
            health,
            drain,
            close_connections,
            stop_serving,
            serving,
            tasks,
            fatal,
        })
    }

    /// The address that is served on: with port 0 in the settings, the one that was free.
    #[must_use]
    pub fn rpc_addr(&self) -> SocketAddr {
        self.rpc_addr
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// Returns when the node cannot go on: the process should then end at once, with this said, and be started again. Only a
    /// new start finds out what a disk holds that failed to sync.
    pub fn failed(&self) -> impl Future<Output = FatalError> + Send + use<> {
        let mut fatal = self.fatal.subscribe();
        async move {
            let failure = match fatal.wait_for(Option::is_some).await {
                Ok(failure) => failure.clone(),
                Err(_) => None,
            };
            match failure {
                Some(failure) => failure,
                // The node was stopped, and will never fail.
                None => std::future::pending().await,
            }
        }
    }

    /// Stops: tells clients to go elsewhere, answers what is under way for as long as [`NodeConfig::drain_timeout`], closes
    /// the connections, and then the data directory, so that the next start is quick.
    ///
    /// # Errors
    /// If the data directory could not be closed cleanly. The node has stopped all the same.
    pub async fn shutdown(mut self) -> Result<(), StopError> {
        tracing::info!("node is stopping");
        self.health.not_ready().await;
        self.drain.begin();
        self.stop_serving.cancel();
        self.health.close().await;
        if timeout(self.config.drain_timeout, &mut self.serving).await.is_err() {
            tracing::warn!("closing connections that did not end in time");
            self.close_connections.cancel();
            drop(timeout(CLOSE_TIMEOUT, &mut self.serving).await);
        }
        self.tasks.shutdown().await;
        self.topics.close();
        let storage = self.storage.take();
        let closed = self.env.blocking.run(move || storage.map_or(Ok(()), |storage| storage.close())).await;
        match &closed {
            Ok(()) => tracing::info!("node stopped"),
            Err(error) => {
                tracing::error!(%error, "node stopped, but its data directory was not closed cleanly")
            }
        }
        Ok(closed?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.drain.begin();
        self.close_connections.cancel();
        self.serving.abort();
        self.topics.close();
    }
}

async fn open_storage(
    env: &Env,
    config: &NodeConfig,
    fatal: &watch::Sender<Option<FatalError>>,
) -> Result<Storage, StartError> {
    let (open_env, dir, settings) = (env.clone(), config.data_dir.clone(), config.storage.clone());
    let storage = env.blocking.run(move || Storage::open(&open_env, &dir, settings)).await?;
    let fatal = fatal.clone();
    storage.on_stopped(Box::new(move |reason| fail(&fatal, FatalError::Storage(reason))));
    Ok(storage)
}

/// The node's identity: the one in the data directory, or where that is empty a new one if the settings say so.
async fn identify(env: &Env, storage: &Storage, config: &NodeConfig) -> Result<NodeIdentity, StartError> {
    let dir = || config.data_dir.clone();
    if let Some(bytes) = storage.node_file() {
        let identity =
            NodeIdentity::decode(&bytes).ok_or_else(|| StartError::IdentityUnknown { dir: dir() })?;
        if config.bootstrap {
            tracing::info!(%identity, "the data directory holds a cluster already: bootstrap does nothing");
        }
        return Ok(identity);
    }
    let listed = storage.clone();
    if !env.blocking.run(move || listed.partition_ids()).await?.is_empty() {
        return Err(StartError::IdentityMissing { dir: dir() });
    }
    if !config.bootstrap {
        return Err(StartError::NotBootstrapped { dir: dir() });
    }
    let identity = NodeIdentity::bootstrap(env.entropy.as_ref());
    let (written, bytes) = (storage.clone(), identity.encode());
    env.blocking.run(move || written.set_node_file(bytes)).await?;
    tracing::info!(%identity, "new cluster");
    Ok(identity)
}

async fn open_metadata(
    env: &Env,
    storage: &Storage,
    identity: &NodeIdentity,
) -> Result<MetadataLog, StartError> {
    let listed = storage.clone();
    let partitions = env.blocking.run(move || listed.partition_ids()).await?;
    // Without the metadata numbers would be given out again that stand for what lies here, or lay here: who has voted in
    // the metadata's group had them.
    let were_there = !partitions.is_empty() || storage.votes().get(Metadata::CONTROLLER).is_some();
    if were_there && !partitions.contains(&Metadata::CONTROLLER) {
        return Err(StartError::MetadataMissing { partitions: partitions.len() });
    }
    let initial = MetadataMachine::default();
    MetadataLog::open(env, storage, Metadata::CONTROLLER, identity.node_id, initial)
        .await
        .map_err(StartError::Metadata)
}

async fn open_topics(
    env: &Env,
    storage: &Storage,
    identity: &NodeIdentity,
    metadata: &MetadataLog,
    config: &NodeConfig,
) -> (Topics, impl Future<Output = ()> + Send + 'static) {
    let (env, storage, metadata) = (env.clone(), storage.clone(), metadata.clone());
    let defaults = Defaults::new(config);
    Topics::open(env, storage, identity.node_id, metadata, defaults, config.auto_create_topics).await
}

async fn listen(env: &Env, config: &NodeConfig) -> Result<Mux, StartError> {
    let addr = config.rpc_addr;
    let listener = env.network.bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    Mux::start(listener, config.listener).map_err(|source| StartError::Listen { addr, source })
}

fn directory(identity: &NodeIdentity, config: &NodeConfig, rpc_addr: SocketAddr) -> Directory {
    Directory {
        cluster_id: identity.cluster_id.clone(),
        node_id: identity.node_id,
        name: config.node_name.clone(),
        rpc_addr: config.advertise_addr.clone().unwrap_or_else(|| rpc_addr.to_string()),
        rack: config.rack.clone(),
    }
}

/// Takes connections off the port, each to those who speak its protocol.
async fn dispatch(mut mux: Mux, grpc: mpsc::Sender<GrpcConnection>) {
    loop {
        let incoming = tokio::select! {
            biased;
            // The node is stopping: the port is closed at once, so that clients go elsewhere.
            () = grpc.closed() => return,
            incoming = mux.next() => incoming,
        };
        let Some(incoming) = incoming else { return };
        match incoming.protocol {
            Protocol::Http2 => {
                if grpc.send(GrpcConnection(incoming.connection)).await.is_err() {
                    return;
                }
            }
            Protocol::Http1 => drop(tokio::spawn(http::refuse(incoming.connection))),
            // There are no peers yet.
            Protocol::Peer => drop(incoming.connection),
        }
    }
}

/// Serves connections until told to stop, and then those that are open until they end.
async fn serve(
    routes: Routes,
    incoming: mpsc::Receiver<GrpcConnection>,
    stop: CancellationToken,
    fatal: watch::Sender<Option<FatalError>>,
) {
    let connections = ReceiverStream::new(incoming).map(Ok::<_, std::convert::Infallible>);
    let served =
        grpc::server().add_routes(routes).serve_with_incoming_shutdown(connections, stop.cancelled()).await;
    match served {
        Err(error) => fail(&fatal, FatalError::Server(error.to_string())),
        Ok(()) if !stop.is_cancelled() => fail(&fatal, FatalError::Server("the listener ended".to_owned())),
        Ok(()) => {}
    }
}

/// A node whose storage has failed still answers, but nobody should ask it.
async fn say_when_failed(mut fatal: watch::Receiver<Option<FatalError>>, health: Health) {
    if fatal.wait_for(Option::is_some).await.is_ok() {
        health.not_ready().await;
    }
}

/// Keeps the first failure: what comes later follows from it.
fn fail(fatal: &watch::Sender<Option<FatalError>>, error: FatalError) {
    fatal.send_if_modified(|failure| {
        let first = failure.is_none();
        if first {
            tracing::error!(%error, "node cannot go on");
            *failure = Some(error);
        }
        first
    });
}

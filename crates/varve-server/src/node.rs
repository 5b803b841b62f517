//! The node: put together, started, stopped.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use varve_api::v1;
use varve_env::Env;
use varve_env::net::Network;
use varve_net::{
    Connection, HelloError, Mux, PeerClient, PeerIdentity, Protocol, TlsPeerNetwork, TlsServiceNetwork,
    serve_peer,
};
use varve_record::NodeId;
use varve_replica::{GroupError, GroupMembers, Peers, WireNetwork};
use varve_storage::Storage;

use crate::catch_up::catch_up;
use crate::cluster::{self, AddressBook, ClusterView, Forwarder, Presence};
use crate::condition::Condition;
use crate::drain::Drain;
use crate::error::{FatalError, StartError, StopError};
use crate::grpc::{self, Door, GrpcConnection, Health, InitRequests, Servers, Shared, Workshop};
use crate::http::{OpsConnections, Pages};
use crate::identity::{FOUNDER, NodeFile};
use crate::limits::{
    CLOSE_TIMEOUT, FAILURE_LOOK_INTERVAL, HAND_OVER_TIMEOUT, HEIR_TIMEOUT, PEER_CONNECTIONS_MAX,
};
use crate::security::{Caller, NodeRoll, Security};
use crate::telemetry::{self, Lags, OpenStreams, RpcMetrics, SpaceWatch};
use crate::topics::{Defaults, ProducerIds, Slot, Topics};
use crate::{Discovery, NodeConfig, NodeIdentity, housekeeping, http, metadata_log, seat};

/// HTTP/2 connections that wait to be served.
const CONNECTIONS_WAITING_MAX: usize = 16;

/// How long a node that is to make a cluster listens first whether gossip shows one.
const FOUNDING_PAUSE: Duration = Duration::from_millis(300);

/// How often it is looked whether another leads what is handed over.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(10);

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
    view: ClusterView,
    health: Health,
    condition: Condition,
    ops_addr: Option<SocketAddr>,
    drain: Drain,
    close_connections: CancellationToken,
    stop_serving: CancellationToken,
    serving: AbortOnDropHandle<()>,
    /// Tasks that end with the node.
    tasks: JoinSet<()>,
    fatal: watch::Sender<Option<FatalError>>,
    security: Option<Security>,
}

/// What answers the connections of other nodes, once this one has a place.
#[derive(Clone, Debug)]
struct PeerSide {
    identity: PeerIdentity,
    peers: Peers,
    /// The nodes of the cluster.
    roll: NodeRoll,
    /// The longest that a connection lives; in the clear as long as it likes.
    age_max: Option<Duration>,
}

impl Node {
    /// Opens the data directory, takes the node's place in its cluster, and serves. Must be called within a Tokio runtime,
    /// which the node's tasks go on to run on.
    ///
    /// Returns once the node is ready. Where it has to find its cluster first, or the cluster has no leader, that takes as
    /// long as it takes; the port is open meanwhile. Dropped, it has not started.
    ///
    /// # Errors
    /// Whichever step fails first; what the steps before it began is ended again.
    pub fn start(env: Env, config: NodeConfig) -> BoxFuture<'static, Result<Self, StartError>> {
        // Boxed, so that the node is compiled with this crate, and not once more with each that starts one.
        Self::put_together(env, config).boxed()
    }

    async fn put_together(env: Env, config: NodeConfig) -> Result<Self, StartError> {
        config.check()?;
        let fatal = watch::Sender::new(None);
        let mut tasks = JoinSet::new();
        let security = open_security(&env, &config, &mut tasks).await?;
        let storage = open_storage(&env, &config, &fatal).await?;
        let remembered = remembered(&env, &storage, &config).await?;

        let age_max = config.security.as_ref().map(|security| security.connection_age_max);
        let mux = listen(&env, &config, security.as_ref()).await?;
        let (rpc_addr, close_connections, connections_seen) =
            (mux.local_addr(), mux.close_token(), mux.stats());
        let reached_at = config.advertise_addr.clone().unwrap_or_else(|| rpc_addr.to_string());
        let (health, drain) = (Health::new().await, Drain::default());
        let (condition, space) = (Condition::starting(), SpaceWatch::default());
        let operators = OpsConnections::default();
        let calls = RpcMetrics::new(&env.telemetry, config.slow_request);
        telemetry::register_early(
            &env.telemetry,
            telemetry::Early {
                build: config.build,
                connections: connections_seen,
                operators: operators.clone(),
                limits: config.listener,
                security: security.as_ref(),
                storage: &storage,
                space: &space,
                condition: &condition,
            },
        );
        if env.telemetry.exposition().is_some() {
            tasks.spawn(space.run(env.clone(), storage.clone()).boxed());
        }
        let pages = Pages {
            condition: condition.clone(),
            telemetry: env.telemetry.clone(),
            blocking: env.blocking,
            authorizer: security.as_ref().map(|security| security.authorizer.clone()),
        };
        let ops_addr = serve_operators(&env, &config, &pages, operators, &mut tasks).await?;
        tasks.spawn(health.clone().follow(condition.clone()).boxed());
        let (door, init_requests) = Door::new();
        let outside = grpc::outside(&health)
            .map_err(|error| StartError::Setup { what: "reflection", reason: error.to_string() })?;
        let routes = door.clone().behind(outside);
        let (connections, incoming) = mpsc::channel(CONNECTIONS_WAITING_MAX);
        let stop_serving = CancellationToken::new();
        let server =
            grpc::server(security.as_ref(), config.security.as_ref(), &calls, &env.telemetry, pages.clone());
        let serving = serve(server, routes, incoming, stop_serving.clone(), fatal.clone());
        let serving = AbortOnDropHandle::new(varve_env::spawn_task(serving));
        let peer_side = Arc::new(OnceLock::new());
        tasks.spawn(
            dispatch(mux, connections, Arc::clone(&peer_side), security.clone(), age_max, pages).boxed(),
        );
        tasks.spawn(say_when_failed(fatal.subscribe(), condition.clone()).boxed());

        let presence = look_around(&config, remembered.as_ref(), &reached_at).await?;
        let forwarder = Forwarder::new(services_network(&env, security.as_ref()));
        let is_new = remembered.is_none();
        let found = find_place(&env, &storage, &config, &presence, &forwarder, remembered, init_requests);
        let NodeFile { identity, peers: known } = found.await?;
        let founded = is_new && identity.node_id == FOUNDER;
        door.placed();
        // Who makes a cluster says so at once, before another makes one beside it.
        if founded {
            tasks.spawn(announce(presence.clone(), identity.clone()).boxed());
        }

        let addresses = AddressBook::new(known);
        let peers = join_peers(&env, &config, &identity, &addresses, &peer_side, security.as_ref())?;
        let metadata = metadata_log::Opener {
            env: &env,
            storage: &storage,
            data_dir: &config.data_dir,
            timing: config.timing,
            peers: &peers,
            identity: &identity,
            addresses: &addresses,
            forwarder: &forwarder,
        };
        let metadata = metadata.open().await?;
        if let Some(side) = peer_side.get() {
            side.roll.open(metadata.clone());
        }
        // Whoever joins is spoken to as soon as it is seen, and should be able to hear then.
        if !founded {
            tasks.spawn(announce(presence.clone(), identity.clone()).boxed());
        }
        let view =
            ClusterView { identity: identity.clone(), metadata: metadata.clone(), presence, addresses };
        telemetry::register_controller(&env.telemetry, &view);
        tasks.spawn(
            view.addresses
                .clone()
                .follow(
                    env.clone(),
                    storage.clone(),
                    identity.clone(),
                    view.presence.clone(),
                    metadata.follow(),
                )
                .boxed(),
        );
        tasks.spawn(watch_over_metadata(env.clone(), storage.clone(), view.clone(), fatal.clone()).boxed());
        // Whoever leads the controller keeps it, ready itself or not.
        tasks.spawn(cluster::keep(view.clone(), config.replacement_delay).boxed());
        tokio::select! {
            seat = seat::take(&view, &forwarder, &config, &reached_at) => seat?,
            failure = failure(fatal.subscribe()) => return Err(StartError::Fatal(failure)),
        }

        let leaderships = peers.follow_leaderships();
        let (streams, lags) = (OpenStreams::default(), Lags::default());
        let (topics, owner) = Topics::open(
            env.clone(),
            storage.clone(),
            peers,
            config.timing,
            view.clone(),
            Defaults::new(&config),
            config.auto_create_topics,
        )
        .await;
        tasks.spawn(owner.boxed());
        tasks.spawn(cluster::tend(view.clone(), topics.clone(), leaderships).boxed());
        let every = config.retention_interval;
        tasks.spawn(housekeeping::run(storage.clone(), topics.clone(), identity.node_id, every).boxed());
        tasks.spawn(end_without_place(view.clone(), forwarder.clone(), founded, fatal.clone()).boxed());
        let (servers, keep_known) = Servers::of(view.clone());
        tasks.spawn(keep_known.boxed());
        let shared = Shared {
            servers,
            workshop: Workshop::new(env.blocking),
            env: env.clone(),
            topics: topics.clone(),
            producer_ids: ProducerIds::new(view.clone()),
            view: view.clone(),
            forwarder,
            drain: drain.clone(),
            room: grpc::InFlight::new(config.produce_bytes_in_flight_max),
            read_ahead: grpc::ReadAhead::default(),
            streams: streams.clone(),
            calls,
        };
        if env.telemetry.exposition().is_some() {
            tasks.spawn(lags.clone().run(env.clone(), view.clone(), topics.clone()).boxed());
            tasks.spawn(streams.clone().run().boxed());
        }
        telemetry::register_cluster(
            &env.telemetry,
            telemetry::Cluster {
                view: view.clone(),
                topics: topics.clone(),
                streams,
                lags,
                room: shared.room.clone(),
                topics_max: config.metrics_topics_max,
            },
        );
        tasks.spawn(condition.clone().watch_over(view.clone(), topics.clone()).boxed());
        tasks.spawn(catch_up(condition.clone(), topics.clone()).boxed());
        let debug = grpc::DebugApi {
            shared: shared.clone(),
            data_dir: config.data_dir.clone(),
            condition: condition.clone(),
            build: config.build,
            node_name: config.node_name.clone(),
            process: config.process.clone(),
        };
        door.open(grpc::routes(&shared, debug));
        condition.started();
        health.tell(&condition.now()).await;
        tracing::info!(%rpc_addr, %identity, data_dir = %config.data_dir.display(), topics = topics.all().len(), "node started");
        Ok(Self {
            config,
            env,
            identity,
            rpc_addr,
            storage: Some(storage),
            topics,
            view,
            health,
            condition,
            ops_addr,
            drain,
            close_connections,
            stop_serving,
            serving,
            tasks,
            fatal,
            security,
        })
    }

    /// Looks at once whether certificates, policy and gossip keys have changed on the disk, as it does every few seconds.
    pub fn reload(&self) {
        self.view.presence.reload_keys();
        if let Some(security) = &self.security {
            security.reload();
        }
    }

    /// The address that is served on: with port 0 in the settings, the one that was free.
    #[must_use]
    pub fn rpc_addr(&self) -> SocketAddr {
        self.rpc_addr
    }

    /// Where probes and metrics are served in the clear, if anywhere: with port 0 in the settings, the port that was free.
    #[must_use]
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_addr
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// Returns when the node cannot go on: the process should then end at once, with this said, and be started again. Only a
    /// new start finds out what a disk holds that failed to sync.
    pub fn failed(&self) -> impl Future<Output = FatalError> + Send + use<> {
        failure(self.fatal.subscribe())
    }

    /// Where this node gossips: with port 0 in the settings, the one that was free. `None` without gossip.
    #[must_use]
    pub fn gossip_addr(&self) -> Option<String> {
        Some(self.view.presence.gossip_addr()).filter(|addr| !addr.is_empty())
    }

    /// Stops, and keeps its place in the cluster: hands leadership over, tells clients to go elsewhere, answers what is under
    /// way for as long as [`NodeConfig::drain_timeout`], closes the connections, and then the data directory, so that the
    /// next start is quick.
    ///
    /// # Errors
    /// If the data directory could not be closed cleanly. The node has stopped all the same.
    pub fn shutdown(self) -> BoxFuture<'static, Result<(), StopError>> {
        // Boxed for the same reason.
        self.stop().boxed()
    }

    async fn stop(mut self) -> Result<(), StopError> {
        tracing::info!("node is stopping");
        self.condition.stopping();
        self.health.tell(&self.condition.now()).await;
        if timeout(HAND_OVER_TIMEOUT, self.hand_over()).await.is_err() {
            tracing::warn!("not all leadership could be handed over in time: the others will elect");
        }
        self.drain.begin();
        self.stop_serving.cancel();
        self.health.close().await;
        if timeout(self.config.drain_timeout, &mut self.serving).await.is_err() {
            tracing::warn!("closing connections that did not end in time");
            self.close_connections.cancel();
            drop(timeout(CLOSE_TIMEOUT, &mut self.serving).await);
        }
        self.tasks.shutdown().await;
        let stopped = async {
            self.topics.stop().await;
            self.view.metadata.stop().await;
        };
        if timeout(CLOSE_TIMEOUT, stopped).await.is_err() {
            tracing::warn!(
                "not all partitions stopped in time: the next start recovers them as after a crash"
            );
        }
        self.view.presence.shutdown().await;
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

    /// Has others lead what this node leads, where there are others, and waits until they do.
    async fn hand_over(&self) {
        let (this, alive) = (self.view.this(), self.view.alive());
        let heirs = |members: GroupMembers| {
            let others = members.voters.into_iter().filter(|node| *node != this && alive.contains(node));
            others.collect::<Vec<_>>()
        };
        let all = self.topics.all();
        let slots = all.values().flat_map(|topic| topic.slots());
        let partitions = slots.filter_map(|(_, _, slot)| match slot {
            Slot::Open(partition) => Some(partition.clone()),
            Slot::Failed(_) | Slot::Elsewhere => None,
        });
        let led = partitions.filter(|partition| partition.progress().leader == Some(this));
        let transfers = led.filter_map(|partition| {
            let heirs = heirs(partition.members().ok()?);
            Some(async move {
                let leads = || partition.progress().leader == Some(this);
                hand_on(heirs, leads, |heir| partition.transfer_leadership(heir)).await;
            })
        });
        let metadata = &self.view.metadata;
        let leads = || self.view.controller_leader() == Some(this);
        let transfer = |heir| metadata.transfer_leadership(heir);
        // Whatever becomes of one of them, it holds up no other.
        tokio::join!(join_all(transfers), hand_on(heirs(metadata.members()), leads, transfer));
    }
}

/// Has one of the others lead, and waits until this node does not. One that does not come to it in time gives way to the next.
async fn hand_on<F>(heirs: Vec<NodeId>, leads: impl Fn() -> bool, transfer: impl Fn(NodeId) -> F)
where
    F: Future<Output = Result<(), GroupError>>,
{
    for heir in heirs {
        if !leads() {
            return;
        }
        let led_by_heir = async {
            if transfer(heir).await.is_ok() {
                while leads() {
                    sleep(HAND_OVER_PAUSE).await;
                }
            }
        };
        drop(timeout(HEIR_TIMEOUT, led_by_heir).await);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.drain.begin();
        self.close_connections.cancel();
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

/// What the data directory says of the node, if it is not empty.
async fn remembered(
    env: &Env,
    storage: &Storage,
    config: &NodeConfig,
) -> Result<Option<NodeFile>, StartError> {
    let dir = || config.data_dir.clone();
    if let Some(bytes) = storage.node_file() {
        let file = NodeFile::decode(&bytes).filter(|file| file.identity.cluster_bytes().is_some());
        let file = file.ok_or_else(|| StartError::IdentityUnknown { dir: dir() })?;
        if config.bootstrap {
            tracing::info!(identity = %file.identity, "the data directory holds a cluster already: bootstrap does nothing");
        }
        return Ok(Some(file));
    }
    let listed = storage.clone();
    if !env.blocking.run(move || listed.partition_ids()).await?.is_empty() {
        return Err(StartError::IdentityMissing { dir: dir() });
    }
    if !config.bootstrap && matches!(config.discovery, Discovery::Alone) {
        return Err(StartError::NotBootstrapped { dir: dir() });
    }
    Ok(None)
}

/// Begins to see who else is there.
async fn look_around(
    config: &NodeConfig,
    remembered: Option<&NodeFile>,
    reached_at: &str,
) -> Result<Presence, StartError> {
    let peers = remembered.into_iter().flat_map(|file| &file.peers);
    let known = peers.map(|peer| peer.gossip_addr.clone()).filter(|addr| !addr.is_empty()).collect();
    let tags = Presence::tags(remembered.map(|file| &file.identity), reached_at);
    let tags = tags.map_err(|error| StartError::Setup { what: "gossip", reason: error.to_string() })?;
    let membership = config.discovery.start(&config.node_name, tags, known).await?;
    Ok(Presence::new(membership, reached_at.to_owned()))
}

/// The node's place: the one that it has, or where the data directory is empty a new one, as the settings say.
async fn find_place(
    env: &Env,
    storage: &Storage,
    config: &NodeConfig,
    presence: &Presence,
    forwarder: &Forwarder,
    remembered: Option<NodeFile>,
    mut init_requests: InitRequests,
) -> Result<NodeFile, StartError> {
    if let Some(file) = remembered {
        return Ok(file);
    }
    let place = if config.bootstrap {
        if let Some(other) = presence.wait_for_nodes(FOUNDING_PAUSE).await {
            return Err(StartError::ClusterExists { cluster_id: other.cluster_id, name: other.name });
        }
        cluster::Place { file: NodeFile::new(NodeIdentity::found(env.entropy.as_ref())), asked: None }
    } else {
        let this = v1::JoinClusterRequest {
            name: config.node_name.clone(),
            rpc_addr: presence.rpc_addr().to_owned(),
            gossip_addr: presence.gossip_addr(),
            rack: config.rack.clone(),
        };
        cluster::find_place(presence, forwarder, &this, env.entropy.as_ref(), &mut init_requests).await
    };
    let (written, bytes) = (storage.clone(), place.file.encode());
    env.blocking.run(move || written.set_node_file(bytes)).await?;
    let identity = &place.file.identity;
    if identity.node_id == FOUNDER {
        tracing::info!(%identity, "new cluster");
    } else {
        tracing::info!(%identity, "joined the cluster");
    }
    if let Some(asked) = place.asked {
        drop(asked.answer.send(Ok(identity.cluster_id.clone())));
    }
    Ok(place.file)
}

/// Begins to speak with the other nodes of the cluster.
fn join_peers(
    env: &Env,
    config: &NodeConfig,
    identity: &NodeIdentity,
    addresses: &AddressBook,
    peer_side: &OnceLock<PeerSide>,
    security: Option<&Security>,
) -> Result<Peers, StartError> {
    let cluster = identity.cluster_bytes();
    let cluster = cluster.ok_or_else(|| StartError::IdentityUnknown { dir: config.data_dir.clone() })?;
    let this = PeerIdentity { cluster, node: identity.node_id.get() };
    let (network, entropy, roll) = (Arc::clone(&env.network), Arc::clone(&env.entropy), NodeRoll::default());
    let client = match security {
        Some(Security { tls, peers, .. }) => {
            let network = TlsPeerNetwork::new(network, tls.clone(), roll.check_called(peers.clone()));
            PeerClient::new(network, entropy, this, addresses.for_peers())
        }
        None => PeerClient::new(network, entropy, this, addresses.for_peers()),
    };
    let peers = Peers::new(identity.node_id, Arc::new(WireNetwork::new(client, &env.telemetry)));
    // It is set once: this is the only place.
    let age_max = config.security.as_ref().map(|security| security.connection_age_max);
    drop(peer_side.set(PeerSide { identity: this, peers: peers.clone(), roll, age_max }));
    Ok(peers)
}

async fn open_security(
    env: &Env,
    config: &NodeConfig,
    tasks: &mut JoinSet<()>,
) -> Result<Option<Security>, StartError> {
    let Some(settings) = &config.security else { return Ok(None) };
    let (security, watch) = Security::open(env, settings, &config.node_name).await?;
    tasks.spawn(watch.boxed());
    Ok(Some(security))
}

/// How the services of other nodes are reached.
fn services_network(env: &Env, security: Option<&Security>) -> Arc<dyn Network> {
    let network = Arc::clone(&env.network);
    match security {
        Some(security) => Arc::new(TlsServiceNetwork::new(network, security.tls.clone())),
        None => network,
    }
}

/// Serves probes and metrics on a port of their own, where the settings have one.
async fn serve_operators(
    env: &Env,
    config: &NodeConfig,
    pages: &Pages,
    places: OpsConnections,
    tasks: &mut JoinSet<()>,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(addr) = config.ops_addr else { return Ok(None) };
    let failed = |source| StartError::Listen { addr, source };
    let listener = env.network.bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    http::say_where(bound);
    tasks.spawn(pages.clone().serve_operators(listener, places).boxed());
    Ok(Some(bound))
}

async fn listen(env: &Env, config: &NodeConfig, security: Option<&Security>) -> Result<Mux, StartError> {
    let addr = config.rpc_addr;
    let listener = env.network.bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    let tls = security.map(|security| security.tls.clone());
    Mux::start(listener, config.listener, tls).map_err(|source| StartError::Listen { addr, source })
}

/// Takes connections off the port, each to those who speak its protocol. A node that is about to stop takes no more clients,
/// and goes on to take other nodes: what is under way may need them.
async fn dispatch(
    mut mux: Mux,
    grpc: mpsc::Sender<GrpcConnection>,
    peer_side: Arc<OnceLock<PeerSide>>,
    security: Option<Security>,
    age_max: Option<Duration>,
    pages: Pages,
) {
    let mut peers = JoinSet::new();
    while let Some(incoming) = mux.next().await {
        while peers.try_join_next().is_some() {}
        let caller =
            security.as_ref().map_or(Caller::Anyone, |security| security.caller(&incoming.connection));
        match incoming.protocol {
            Protocol::Http2 => {
                drop(grpc.send(GrpcConnection::new(incoming.connection, caller, age_max)).await)
            }
            Protocol::Http1 if grpc.is_closed() => {}
            Protocol::Http1 => {
                drop(varve_env::spawn_task(pages.clone().serve_caller(incoming.connection, caller)))
            }
            Protocol::Peer => match peer_side.get() {
                Some(side) if peers.len() < PEER_CONNECTIONS_MAX => {
                    drop(peers.spawn(side.clone().serve(incoming.connection, caller).boxed()));
                }
                // Without a place this node has nothing to say to others, and over the limit nothing more.
                _ => {}
            },
        }
    }
}

impl PeerSide {
    /// Serves another node's connection until it ends.
    async fn serve(self, connection: Connection, caller: Caller) {
        let addr = connection.peer_addr();
        let gate = self.roll.gate(caller);
        let serving = serve_peer(connection, self.identity, &self.peers, &gate);
        let served = match self.age_max {
            // Whoever is at the other end connects again, if its certificate is still good.
            Some(age_max) => timeout(age_max, serving).await.unwrap_or(Ok(())),
            None => serving.await,
        };
        match served {
            Ok(()) => {}
            Err(error @ HelloError::Refused { .. }) => {
                tracing::warn!(target: "varve::audit", peer_addr = %addr, %error, "a node was refused");
            }
            Err(error) => tracing::debug!(%error, "connection of another node ended"),
        }
    }
}

/// Serves connections until told to stop, and then those that are open until they end.
async fn serve(
    server: Server<grpc::Layers>,
    routes: Routes,
    incoming: mpsc::Receiver<GrpcConnection>,
    stop: CancellationToken,
    fatal: watch::Sender<Option<FatalError>>,
) {
    let mut server = server;
    let connections = ReceiverStream::new(incoming).map(Ok::<_, std::convert::Infallible>);
    let served = server.add_routes(routes).serve_with_incoming_shutdown(connections, stop.cancelled()).await;
    match served {
        Err(error) => fail(&fatal, FatalError::Server(error.to_string())),
        Ok(()) if !stop.is_cancelled() => fail(&fatal, FatalError::Server("the listener ended".to_owned())),
        Ok(()) => {}
    }
}

/// A node whose metadata follow nobody any more would serve what is no longer so.
async fn watch_over_metadata(
    env: Env,
    storage: Storage,
    view: ClusterView,
    fatal: watch::Sender<Option<FatalError>>,
) {
    while !view.metadata.has_stopped() {
        sleep(FAILURE_LOOK_INTERVAL).await;
    }
    let is_set_aside = metadata_log::give_up_damaged(&env, &storage, &view).await;
    fail(&fatal, if is_set_aside { FatalError::MetadataDamaged } else { FatalError::Metadata });
}

/// The first failure that the node cannot go on with.
async fn failure(mut fatal: watch::Receiver<Option<FatalError>>) -> FatalError {
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

/// A node whose storage has failed still answers, but nobody should ask it.
async fn say_when_failed(mut fatal: watch::Receiver<Option<FatalError>>, condition: Condition) {
    if let Ok(failure) = fatal.wait_for(Option::is_some).await
        && let Some(failure) = &*failure
    {
        condition.failed(failure);
    }
}

/// A node that has no place has nothing to serve, and tells the others that it goes.
async fn end_without_place(
    view: ClusterView,
    forwarder: Forwarder,
    founded: bool,
    fatal: watch::Sender<Option<FatalError>>,
) {
    let identity = view.identity.clone();
    let error = tokio::select! {
        decommissioned = seat::lost(view.clone(), forwarder) => match decommissioned {
            true => FatalError::Decommissioned { identity },
            false => FatalError::TakenOut { identity },
        },
        other = seat::beside_another(view.clone(), founded) => FatalError::SecondCluster { identity, other },
    };
    view.presence.leave().await;
    fail(&fatal, error);
}

/// Tells the others who this node is. Until it is under way that may take a moment, which nothing here has to wait for.
async fn announce(presence: Presence, identity: NodeIdentity) {
    presence.announce(&identity).await;
}

/// Keeps the first failure: what comes later follows from it.
fn fail(fatal: &watch::Sender<Option<FatalError>>, error: FatalError) {
    fatal.send_if_modified(|failure| {
        let first = failure.is_none();
        if first {
            match &error {
                FatalError::Decommissioned { identity } => {
                    tracing::info!(%identity, "node was decommissioned: it is taken out of its cluster, and ends");
                }
                _ => tracing::error!(%error, "node cannot go on"),
            }
            *failure = Some(error);
        }
        first
    });
}

//! Membership by serf's gossip.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use memberlist_core::delegate::EventDelegate;
use memberlist_core::error::Error as MemberlistError;
use serf::error::Error as SerfError;
use serf::event::{EventProducer, EventSubscriber};
use serf::net::error::NetTransportError;
use serf::types::SmolStr;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time;

use crate::config::NAME_BYTES_MAX;
use crate::conflict::NameWatch;
use crate::foreign::KeyWatch;
use crate::joiner::Joiner;
use crate::roster::Roster;
use crate::rotation::Rotation;
use crate::settings::{self, SerfDelegate, SerfNode, SerfTransport};
use crate::tags::LEAVING_KEY;
use crate::{GossipConfig, Member, MemberStatus, Membership, SetTagsError, Tags};

/// How often a start with port 0 looks for a port that is free in TCP and UDP.
pub const PORT_TRIES_MAX: usize = 16;

/// How long leaving takes at most: two broadcasts, and the time to let them spread.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(8);

/// How long stopping takes at most. What has not ended by then ends with the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the roster is compared with what serf knows, besides after its events: it sends none for a member that is leaving.
const ROSTER_INTERVAL: Duration = Duration::from_millis(250);

/// How often tags are set until they are there. Memberlist drops them, and reports success, where the node refutes a suspicion
/// in the moment between the choice of their incarnation and its use: the refutation repeats the old ones, under a newer.
const SET_TAGS_TRIES: usize = 10;

/// Most of serf's events that wait. They are taken at once, by a task that does nothing else, because serf sends them while
/// it holds its locks.
const EVENTS_QUEUED_MAX: usize = 64;

/// Membership by gossip: this node takes part from [`Gossip::start`] until [`Membership::shutdown`], or until it is dropped.
pub struct Gossip {
    /// The local member as it started.
    first: Member,
    serf: SerfNode,
    roster: Arc<Roster>,
    names: Arc<NameWatch>,
    keys: Arc<KeyWatch>,
    /// Has the key file looked at.
    look_at_keys: Arc<Notify>,
    /// One change of tags at a time, so that the last one asked for is the last one told.
    tags: tokio::sync::Mutex<()>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    /// Where serf's tasks run.
    runtime: Handle,
}

impl Gossip {
    /// Starts to take part. Joining goes on behind: a node that reaches nobody yet has started all the same.
    ///
    /// # Errors
    ///
    /// The name or the timing is unfit, or the node cannot listen.
    pub fn start(config: GossipConfig) -> BoxFuture<'static, Result<Self, StartError>> {
        // Boxed, so that serf is compiled with this crate, and not once more with each that starts it.
        Self::begin(config).boxed()
    }

    async fn begin(config: GossipConfig) -> Result<Self, StartError> {
        if config.name.is_empty() || config.name.len() > NAME_BYTES_MAX {
            return Err(StartError::Name { name: config.name });
        }
        if let Some(setting) = config.timing.unfit() {
            return Err(StartError::Timing { setting });
        }
        let names = Arc::new(NameWatch::new(SmolStr::new(&config.name)));
        let keys = settings::key_watch(&config);
        let (serf, events) = start_serf(&config, &names, &keys).await?;
        let addr = *serf.advertise_node().address();
        names.started_at(addr);
        tracing::info!(name = %config.name, %addr, "gossip: started");

        let roster = Arc::new(Roster::new());
        refresh(&serf, &roster).await;
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let look = Arc::new(Notify::new());
        tasks.spawn(until(&stop, drain(events, look.clone())).boxed());
        tasks.spawn(until(&stop, follow(serf.clone(), roster.clone(), look)).boxed());
        let joiner = Joiner::new(&config, addr, serf.clone(), roster.clone(), names.clone(), keys.clone());
        tasks.spawn(until(&stop, joiner.run()).boxed());
        let look_at_keys = Arc::new(Notify::new());
        if let Some(file) = config.key_file.clone() {
            let (serf, watch, asked) = (serf.clone(), keys.clone(), look_at_keys.clone());
            let rotation = Rotation { file, in_use: config.keys.clone(), serf, watch, asked };
            tasks.spawn(until(&stop, rotation.run()).boxed());
        }
        Ok(Self {
            first: Member {
                name: config.name,
                gossip_addr: addr,
                tags: config.tags,
                status: MemberStatus::Alive,
            },
            serf,
            roster,
            names,
            keys,
            look_at_keys,
            tags: tokio::sync::Mutex::new(()),
            stop,
            tasks: Mutex::new(tasks),
            runtime: Handle::current(),
        })
    }

    /// Where the others reach this node's gossip, with the port that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.first.gossip_addr
    }

    /// Where another live node is that has this node's name, once that can be no earlier run of this one any more. The others
    /// keep to whom they knew first. It is logged as an error as well.
    pub fn name_conflict(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.names.confirmed()
    }

    /// Who answers this node under a key that it does not have, once it has tried to join for some rounds and has seen nobody. It
    /// is logged as an error as well.
    pub fn foreign_key(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.keys.confirmed()
    }

    async fn say_goodbye(&self) {
        let _no_tags_after_these = self.tags.lock().await;
        let tags = self.local().tags;
        let tags = tags.iter().chain([(LEAVING_KEY, "")]).collect();
        if let Err(error) = self.serf.set_tags(tags).await {
            tracing::debug!(%error, "gossip: that this node leaves is slow to spread");
        }
        if let Err(error) = self.serf.leave().await {
            tracing::warn!(%error, "gossip: leaving the cluster was not told to the others");
        }
    }

    fn take_tasks(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Membership for Gossip {
    fn local(&self) -> Member {
        // Of those that left, serf forgets even itself after a day.
        let gone = || Member { status: MemberStatus::Left, ..self.first.clone() };
        self.roster.member(&self.first.name).unwrap_or_else(gone)
    }

    fn members(&self) -> Vec<Member> {
        self.roster.members()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.roster.changes()
    }

    fn set_tags(&self, tags: Tags) -> BoxFuture<'_, Result<(), SetTagsError>> {
        async move {
            let _one_at_a_time = self.tags.lock().await;
            for _ in 0..SET_TAGS_TRIES {
                match self.serf.set_tags(tags.iter().collect()).await {
                    Ok(()) => {}
                    Err(SerfError::Memberlist(MemberlistError::NotRunning)) => {
                        return Err(SetTagsError::Stopped);
                    }
                    // They are set; the next exchange of states brings them to the others.
                    Err(error) => tracing::debug!(%error, "gossip: new tags are slow to spread"),
                }
                refresh(&self.serf, &self.roster).await;
                if self.local().tags == tags {
                    return Ok(());
                }
                tracing::debug!("gossip: new tags were lost, setting them again");
            }
            tracing::error!("gossip: new tags were not set, the others go on with the old ones");
            Ok(())
        }
        .boxed()
    }

    fn reload_keys(&self) {
        self.look_at_keys.notify_one();
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        async move {
            if time::timeout(LEAVE_TIMEOUT, self.say_goodbye()).await.is_err() {
                tracing::warn!("gossip: leaving the cluster took too long, the others may see a failure");
            }
            refresh(&self.serf, &self.roster).await;
        }
        .boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        async move {
            let mut tasks = self.take_tasks();
            let stopping = async {
                if let Err(error) = self.serf.shutdown().await {
                    tracing::warn!(%error, "gossip: did not stop cleanly");
                }
                self.stop.send_replace(true);
                while tasks.join_next().await.is_some() {}
            };
            if time::timeout(SHUTDOWN_TIMEOUT, stopping).await.is_err() {
                tracing::warn!("gossip: did not stop in time");
            }
        }
        .boxed()
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        // Serf's own tasks hold each other alive, and its sockets with them, until they are told. Ours take its events until then.
        let (serf, tasks) = (self.serf.clone(), self.take_tasks());
        self.runtime.spawn(async move {
            serf.shutdown().await.ok();
            drop(tasks);
        });
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip")
            .field("name", &self.first.name)
            .field("addr", &self.addr())
            .finish_non_exhaustive()
    }
}

/// Gossip cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The name is empty or too long.
    #[error("a node's name has 1 to {NAME_BYTES_MAX} bytes, and `{name}` has not: choose another")]
    Name {
        /// The name.
        name: String,
    },
    /// A time is too short to be one.
    #[error("gossip's `{setting}` is shorter than a millisecond: leave it at its default")]
    Timing {
        /// The setting.
        setting: &'static str,
    },
    /// The node cannot listen.
    #[error("gossip cannot listen on {addr} in TCP and UDP: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no address to tell the others.
    #[error(
        "gossip listens on all addresses and finds none to tell the others: set the address to advertise"
    )]
    NoAddress,
    /// Something else went wrong inside serf.
    #[error("gossip cannot start: {reason}")]
    Other {
        /// What serf said.
        reason: String,
    },
}

type Events = EventSubscriber<SerfTransport, SerfDelegate>;

async fn start_serf(
    config: &GossipConfig,
    names: &Arc<NameWatch>,
    keys: &Arc<KeyWatch>,
) -> Result<(SerfNode, Events), StartError> {
    let any_port = config.bind_addr.port() == 0;
    let mut tries_left = if any_port { PORT_TRIES_MAX } else { 1 };
    loop {
        tries_left -= 1;
        match try_start_serf(config, names, keys).await {
            // Somebody else took the port since it was found free.
            Err(StartError::Bind { .. }) if tries_left > 0 => {}
            result => return result,
        }
    }
}

async fn try_start_serf(
    config: &GossipConfig,
    names: &Arc<NameWatch>,
    keys: &Arc<KeyWatch>,
) -> Result<(SerfNode, Events), StartError> {
    let bind_addr = with_free_port(config.bind_addr)?;
    let advertise_addr = config.advertise_addr.map(|mut addr| {
        if addr.port() == 0 {
            addr.set_port(bind_addr.port());
        }
        addr
    });
    let transport = settings::transport(&config.name, bind_addr, advertise_addr, keys.clone());
    let (producer, events) = EventProducer::bounded(EVENTS_QUEUED_MAX);
    let delegate = settings::delegate(names.clone());
    let started =
        SerfNode::with_event_producer_and_delegate(transport, settings::serf(config), producer, delegate)
            .await;
    let serf = started.map_err(start_error)?;
    take_in_early(&serf).await;
    Ok((serf, events))
}

/// Tells serf of the members that memberlist met before serf listened to it: it listens only after memberlist has begun to
/// answer, and never hears again of who came in between.
async fn take_in_early(serf: &SerfNode) {
    let memberlist = serf.memberlist();
    let Some(delegate) = memberlist.delegate() else { return };
    let known = serf.members().await;
    for met in memberlist.online_members().await {
        if known.iter().all(|member| member.node().id() != met.id()) {
            tracing::debug!(name = %met.id(), "gossip: a member came while this node started");
            delegate.notify_join(met).await;
        }
    }
}

/// Replaces port 0 by one that is free in TCP and UDP at this moment: gossip has both on one number, and the address to tell
/// the others is fixed before serf binds.
fn with_free_port(addr: SocketAddr) -> Result<SocketAddr, StartError> {
    if addr.port() != 0 {
        return Ok(addr);
    }
    let failed = |source| StartError::Bind { addr, source };
    let tcp = TcpListener::bind(addr).map_err(failed)?;
    let free = tcp.local_addr().map_err(failed)?;
    UdpSocket::bind(free).map_err(failed)?;
    Ok(free)
}

fn start_error(error: SerfError<SerfTransport, SerfDelegate>) -> StartError {
    use NetTransportError::{ListenPacket, ListenPromised, NoPrivateIP};
    match error {
        SerfError::Memberlist(MemberlistError::Transport(
            ListenPacket(addr, source) | ListenPromised(addr, source),
        )) => StartError::Bind { addr, source },
        SerfError::Memberlist(MemberlistError::Transport(NoPrivateIP)) => StartError::NoAddress,
        other => StartError::Other { reason: other.to_string() },
    }
}

/// Runs a task until it ends or is told to stop.
fn until<T>(stop: &watch::Sender<bool>, task: T) -> impl Future<Output = ()> + use<T>
where
    T: Future<Output = ()>,
{
    let mut stop = stop.subscribe();
    async move {
        tokio::select! {
            () = task => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Takes serf's events as they come, and has the roster looked at.
async fn drain(events: Events, look: Arc<Notify>) {
    while events.recv().await.is_ok() {
        look.notify_one();
    }
}

/// Keeps the roster as serf sees it.
async fn follow(serf: SerfNode, roster: Arc<Roster>, look: Arc<Notify>) {
    let mut ticks = time::interval(ROSTER_INTERVAL);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = look.notified() => {}
            _ = ticks.tick() => {}
        }
        refresh(&serf, &roster).await;
    }
}

async fn refresh(serf: &SerfNode, roster: &Roster) {
    roster.look(async { serf.members().await.iter().map(member).collect() }).await;
}

fn member(seen: &serf::types::Member<SmolStr, SocketAddr>) -> Member {
    use serf::types::MemberStatus as Seen;
    let leaving = seen.tags().contains_key(LEAVING_KEY);
    let status = match seen.status() {
        Seen::Alive if leaving => MemberStatus::Leaving,
        Seen::Alive => MemberStatus::Alive,
        Seen::Leaving => MemberStatus::Leaving,
        Seen::Left => MemberStatus::Left,
        // Serf names more than it uses: what is none of these is not known to live.
        _ if leaving => MemberStatus::Left,
        _ => MemberStatus::Failed,
    };
    Member {
        name: seen.node().id().to_string(),
        gossip_addr: *seen.node().address(),
        tags: Tags::from_peer(seen.tags().iter().map(|(key, value)| (key.as_str(), value.as_str()))),
        status,
    }
}

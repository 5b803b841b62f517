//! A double of a cluster: in memory, in process, on real sockets. Its servers share one log, so that what one has appended
//! is committed; they can be told to lag, to move, and to say what is not so.

mod cluster_service;
mod log_service;
mod node;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::{MESSAGE_BYTES_MAX, PRODUCER_BATCHES_MAX};
use varve_api::time::timestamp_from_ms;
use varve_api::v1;
use varve_api::v1::cluster_service_server::ClusterServiceServer;
use varve_api::v1::log_service_server::LogServiceServer;
use varve_api::v1::read_from::Start;
use varve_record::{Batch, BatchError, Limits, Offset, RECORD_BYTES_MAX};

use self::node::Node;
use crate::faults::{ConsumeFault, ProduceFault};

pub(crate) const TOPIC: &str = "events";

/// A cluster of one topic.
pub(crate) struct FakeCluster {
    pub(crate) state: Arc<State>,
    /// A runtime for each server: when it ends, so do all its connections.
    servers: Vec<Option<Runtime>>,
    pub(crate) addrs: Vec<SocketAddr>,
}

pub(crate) struct State {
    inner: Mutex<Inner>,
    /// Changes with every append, and with what servers know of them.
    appended: watch::Sender<u64>,
    /// Changes with the servers.
    servers: watch::Sender<u64>,
    /// How many batches may be answered; for scenarios in which answers wait.
    answers: tokio::sync::Semaphore,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) produce_faults: VecDeque<ProduceFault>,
    pub(crate) consume_faults: VecDeque<ConsumeFault>,
    /// What is said of the servers.
    pub(crate) members: Vec<v1::Server>,
    /// The servers belong to no cluster yet.
    pub(crate) is_uninitialized: bool,
    /// A server that hears of no other: it is told nothing new, and takes nothing.
    pub(crate) cut_off: Option<usize>,
    /// Servers cannot be watched.
    pub(crate) unwatchable: bool,
    /// Servers that are watched say that they are there, and then nothing more.
    pub(crate) falls_silent: bool,
    /// Calls about a partition that a server might have handed on, each a way around.
    pub(crate) forwardable: Vec<&'static str>,
    /// Which servers took streams of readers, in order.
    pub(crate) readers: Vec<usize>,
    /// Up to where servers know a log, for those that lag.
    pub(crate) known_until: HashMap<usize, u64>,
    pub(crate) next_producer_id: i64,
    pub(crate) named_producers: HashMap<String, (i64, i32)>,
    /// Records in each batch, as they came, sent again or not.
    pub(crate) batch_sizes: Vec<u32>,
    /// How often each call came.
    pub(crate) calls: HashMap<&'static str, usize>,
    /// Batches sent to consumers.
    pub(crate) batches_sent: usize,
    /// Larger records are refused.
    pub(crate) record_bytes_max: Option<usize>,
    /// Reads begin with no heartbeat.
    pub(crate) quiet: bool,
    /// Producers are forgotten before the next batch.
    pub(crate) forgotten: bool,
}

#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) batches: Vec<Batch>,
    producers: HashMap<i64, Producer>,
    pub(crate) log_start: u64,
    leader: Option<usize>,
    term: u64,
}

#[derive(Default)]
struct Producer {
    epoch: i16,
    /// Sequence, records and first offset of the newest batches.
    batches: VecDeque<(i32, u32, u64)>,
}

impl FakeCluster {
    /// A cluster of so many servers, of which the first leads all partitions.
    pub(crate) async fn start(servers: usize, partitions: usize) -> Self {
        let state = Arc::new(State {
            inner: Mutex::default(),
            appended: watch::Sender::new(0),
            servers: watch::Sender::new(0),
            answers: tokio::sync::Semaphore::new(tokio::sync::Semaphore::MAX_PERMITS),
        });
        let partition = |_| Partition { leader: Some(0), term: 1, ..Partition::default() };
        state.inner().partitions = (0..partitions).map(partition).collect();
        let mut cluster = Self { state, servers: Vec::new(), addrs: Vec::new() };
        for _ in 0..servers {
            cluster.add();
        }
        cluster
    }

    pub(crate) fn address(&self) -> String {
        format!("varve://{}", self.addrs[0])
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.inner()
    }

    /// Closes every connection of a server, and its port.
    pub(crate) async fn kill(&mut self, server: usize) {
        let runtime = self.servers[server].take().expect("it runs");
        let shutdown = tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(10)));
        shutdown.await.expect("it ends");
    }

    /// Starts a server again on its port.
    pub(crate) fn restart(&mut self, server: usize) {
        let listener = TcpListener::bind(self.addrs[server]).expect("the port is free again");
        self.servers[server] = Some(self.serve(listener, server));
    }

    /// Starts a server again on another port, as a pod is that comes back elsewhere.
    pub(crate) fn restart_elsewhere(&mut self, server: usize) {
        let listener = fresh_listener();
        self.addrs[server] = listener.local_addr().expect("it is bound");
        self.servers[server] = Some(self.serve(listener, server));
        let addr = self.addrs[server].to_string();
        self.tell(server, |member| member.rpc_addr = addr);
    }

    /// Has another server lead a partition, or none.
    pub(crate) fn lead(&self, partition: usize, server: Option<usize>) {
        let mut inner = self.state();
        let partition = &mut inner.partitions[partition];
        partition.leader = server;
        partition.term += 1;
    }

    /// Changes what the servers say of one of them.
    pub(crate) fn tell(&self, server: usize, change: impl FnOnce(&mut v1::Server)) {
        change(&mut self.state().members[server]);
        self.state.servers.send_modify(|version| *version += 1);
    }

    /// Takes the last server out of the cluster. It goes on to answer.
    pub(crate) fn forget_last(&self) {
        self.state().members.pop();
        self.state.servers.send_modify(|version| *version += 1);
    }

    /// Has a server know a log only so far, or all of it.
    pub(crate) fn know_until(&self, server: usize, offset: Option<u64>) {
        match offset {
            Some(offset) => self.state().known_until.insert(server, offset),
            None => self.state().known_until.remove(&server),
        };
        self.state.appended.send_modify(|appended| *appended += 1);
    }

    /// How many clients watch the servers.
    pub(crate) fn watchers(&self) -> usize {
        self.state.servers.receiver_count()
    }

    /// Lets no more batches be answered than are let by [`FakeCluster::let_answer`].
    pub(crate) fn hold_answers(&self) {
        self.state.answers.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_answer(&self, batches: usize) {
        self.state.answers.add_permits(batches);
    }

    /// The values in a partition, in order.
    pub(crate) fn values(&self, partition: usize) -> Vec<String> {
        let inner = self.state();
        let batches = inner.partitions[partition].batches.iter();
        let records = batches.flat_map(|batch| {
            let records = batch.records(&Limits::default()).expect("it was validated");
            records.owned().collect::<Result<Vec<_>, _>>().expect("it was validated")
        });
        records
            .map(|record| String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned())
            .collect()
    }

    /// Waits until so many records were appended to a partition.
    pub(crate) async fn appended(&self, partition: usize, records: u64) {
        let mut appended = self.state.appended.subscribe();
        while self.state().partitions[partition].next_offset() < records {
            appended.changed().await.expect("the sender lives");
        }
    }

    fn add(&mut self) {
        let listener = fresh_listener();
        let addr = listener.local_addr().expect("it is bound");
        self.addrs.push(addr);
        let server = self.addrs.len() - 1;
        let member = v1::Server {
            id: server as u64,
            rpc_addr: addr.to_string(),
            alive: true,
            state: v1::ServerState::Active as i32,
            ..Default::default()
        };
        self.state.inner().members.push(member);
        let server = self.serve(listener, server);
        self.servers.push(Some(server));
    }

    fn serve(&self, listener: TcpListener, server: usize) -> Runtime {
        let node = Node { id: server, state: self.state.clone() };
        let log = LogServiceServer::new(node.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let log = log.max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (health, health_service) = tonic_health::server::health_reporter();
        let router = tonic::transport::Server::builder()
            .initial_stream_window_size(8 * 1024 * 1024)
            .initial_connection_window_size(32 * 1024 * 1024)
            .add_service(log)
            .add_service(health_service)
            .add_service(ClusterServiceServer::new(node));
        listener.set_nonblocking(true).expect("a listener can be");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a thread more");
        runtime.spawn(async move {
            health.set_not_serving::<LogServiceServer<Node>>().await;
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        runtime
    }
}

/// A listener on a port that no server had before: one that was killed may come back on its own, and nobody is to take its
/// successor on that port for it.
fn fresh_listener() -> TcpListener {
    static USED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut refused = Vec::new();
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        if USED.lock().expect("no test panics with it").insert(port) {
            return listener;
        }
        // Kept until there is another, so that it is not given out again.
        refused.push(listener);
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let forwardable = std::mem::take(&mut self.state().forwardable);
            assert_eq!(forwardable, [""; 0], "calls of ours are never to be handed on");
        }
        self.servers.drain(..).flatten().for_each(Runtime::shutdown_background);
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics with it")
    }

    fn count(&self, call: &'static str) {
        *self.inner().calls.entry(call).or_default() += 1;
    }

    fn append(&self, node: usize, request: &v1::ProduceRequest) -> Result<v1::ProduceResponse, ApiError> {
        let mut inner = self.inner();
        let index = request.partition.unwrap_or(0);
        inner.check_leader(node, index)?;
        let batch = Batch::decode(request.encoded_batch.clone()).expect("the client encodes well");
        let record_bytes_max = inner.record_bytes_max.unwrap_or(RECORD_BYTES_MAX);
        batch.validate(&Limits { record_bytes_max, ..Limits::default() }).map_err(too_large)?;
        inner.batch_sizes.push(batch.record_count());
        let forgotten = std::mem::take(&mut inner.forgotten);
        let partition = &mut inner.partitions[index as usize];
        if forgotten {
            partition.producers.clear();
        }
        let (first, duplicate) = partition.append(batch.clone())?;
        drop(inner);
        self.appended.send_modify(|appended| *appended += 1);
        let acks = request.acks != v1::Acks::None as i32;
        Ok(v1::ProduceResponse {
            partition: index,
            first_offset: acks.then_some(first),
            next_offset: acks.then_some(first + u64::from(batch.record_count())),
            append_time: acks.then(|| timestamp_from_ms(first as i64)),
            duplicate,
        })
    }
}

impl Inner {
    fn check_leader(&self, node: usize, partition: u32) -> Result<(), ApiError> {
        let partition = &self.partitions[partition as usize];
        if self.cut_off == Some(node) {
            return Err(ApiError::new(Reason::NoLeader, "nobody that I know of"));
        }
        match partition.leader {
            Some(leader) if leader == node => Ok(()),
            Some(leader) => Err(ApiError::new(Reason::NotLeader, "not me")
                .with(meta::LEADER_ID, leader)
                .with(meta::LEADER_ADDR, &self.members[leader].rpc_addr)
                .with(meta::TERM, partition.term)),
            None => Err(ApiError::new(Reason::NoLeader, "nobody").with(meta::TERM, partition.term)),
        }
    }

    fn high_watermark(&self, node: usize, partition: u32) -> u64 {
        let tail = self.partitions[partition as usize].next_offset();
        self.known_until.get(&node).map_or(tail, |known| tail.min(*known))
    }

    /// What one of the servers tells of all.
    fn get_servers(&self, node: usize) -> v1::GetServersResponse {
        v1::GetServersResponse {
            servers: self.members.clone(),
            cluster_id: "fake".into(),
            server_id: node as u64,
            ..Default::default()
        }
    }
}

impl Partition {
    pub(crate) fn next_offset(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.last_offset().get() + 1)
    }

    /// Where a read begins; the append time of a record is its offset, in milliseconds.
    fn start(&self, from: Option<v1::ReadFrom>, high_watermark: u64) -> Result<u64, ApiError> {
        let from = from.unwrap_or_default();
        let kept = self.log_start..=high_watermark;
        match from.start {
            Some(Start::Offset(offset)) if kept.contains(&offset) || from.clamp => {
                Ok(offset.clamp(*kept.start(), *kept.end()))
            }
            Some(Start::Offset(offset)) if offset < self.log_start => {
                Err(ApiError::new(Reason::OffsetTrimmed, "trimmed"))
            }
            Some(Start::Offset(_)) => Err(ApiError::new(Reason::OffsetBeyondTail, "beyond the tail")),
            Some(Start::Time(time)) => {
                let offset = time.seconds as u64 * 1000 + time.nanos as u64 / 1_000_000;
                Ok(offset.clamp(*kept.start(), *kept.end()))
            }
            Some(Start::TailOffset(_)) | None => Ok(self.log_start),
        }
    }

    fn append(&mut self, batch: Batch) -> Result<(u64, bool), ApiError> {
        let next = self.next_offset();
        if let Some((id, epoch, sequence)) = batch.producer() {
            let is_known = self.producers.contains_key(&id.get());
            let producer = self.producers.entry(id.get()).or_default();
            if epoch.get() < producer.epoch {
                return Err(ApiError::new(Reason::Fenced, "fenced"));
            }
            if epoch.get() > producer.epoch {
                *producer = Producer { epoch: epoch.get(), ..Producer::default() };
            }
            let same =
                |known: &&(i32, u32, u64)| (known.0, known.1) == (sequence.get(), batch.record_count());
            if let Some(known) = producer.batches.iter().find(same) {
                return Ok((known.2, true));
            }
            let due = producer.batches.back().map_or(0, |(sequence, records, _)| sequence + *records as i32);
            if !is_known && sequence.get() != 0 {
                self.producers.remove(&id.get());
                return Err(ApiError::new(Reason::UnknownProducer, "who are you"));
            }
            if sequence.get() != due {
                return Err(ApiError::new(
                    Reason::OutOfOrderSequence,
                    format!("{due} is due, not {sequence}"),
                ));
            }
            producer.batches.push_back((sequence.get(), batch.record_count(), next));
            if producer.batches.len() > PRODUCER_BATCHES_MAX {
                producer.batches.pop_front();
            }
        }
        self.batches.push(batch.with_base_offset(Offset::new(next)));
        Ok((next, false))
    }
}

/// The only fault of a batch that a client may not know of.
fn too_large(error: BatchError) -> ApiError {
    let BatchError::OverLimit { field: "record size in bytes", found, limit } = error else {
        panic!("the client encodes badly: {error}");
    };
    ApiError::new(Reason::RecordTooLarge, error.to_string())
        .with(meta::SIZE_BYTES, found)
        .with(meta::SIZE_BYTES_MAX, limit)
}

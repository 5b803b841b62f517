//! A double of a cluster: in memory, in process, on real sockets.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::Stream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::{MESSAGE_BYTES_MAX, PRODUCER_BATCHES_MAX};
use varve_api::time::timestamp_from_ms;
use varve_api::v1;
use varve_api::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use varve_api::v1::log_service_server::{LogService, LogServiceServer};
use varve_api::v1::produce_stream_response::Result as Answer;
use varve_api::v1::read_from::Start;
use varve_record::{Batch, BatchError, Limits, Offset, RECORD_BYTES_MAX};

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
    /// Changes with every append.
    appended: watch::Sender<u64>,
    /// How many batches may be answered; for scenarios in which answers wait.
    answers: tokio::sync::Semaphore,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) produce_faults: VecDeque<ProduceFault>,
    pub(crate) consume_faults: VecDeque<ConsumeFault>,
    pub(crate) leader: usize,
    pub(crate) addrs: Vec<String>,
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
            answers: tokio::sync::Semaphore::new(tokio::sync::Semaphore::MAX_PERMITS),
        });
        state.inner().partitions = (0..partitions).map(|_| Partition::default()).collect();
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        self.addrs.push(addr);
        self.state.inner().addrs.push(addr.to_string());
        let server = self.serve(listener, self.addrs.len() - 1);
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

impl Drop for FakeCluster {
    fn drop(&mut self) {
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
        if request.leader_only && inner.leader != node {
            let leader = inner.addrs[inner.leader].clone();
            return Err(ApiError::new(Reason::NotLeader, "not me").with(meta::LEADER_ADDR, leader));
        }
        let batch = Batch::decode(request.encoded_batch.clone()).expect("the client encodes well");
        let record_bytes_max = inner.record_bytes_max.unwrap_or(RECORD_BYTES_MAX);
        batch.validate(&Limits { record_bytes_max, ..Limits::default() }).map_err(too_large)?;
        inner.batch_sizes.push(batch.record_count());
        let forgotten = std::mem::take(&mut inner.forgotten);
        let index = request.partition.unwrap_or(0);
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

impl Partition {
    pub(crate) fn next_offset(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.last_offset().get() + 1)
    }

    /// Where a read begins; the append time of a record is its offset, in milliseconds.
    fn start(&self, from: Option<v1::ReadFrom>) -> Result<u64, ApiError> {
        let from = from.unwrap_or_default();
        let kept = self.log_start..=self.next_offset();
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

/// One server.
#[derive(Clone)]
struct Node {
    id: usize,
    state: Arc<State>,
}

type ProduceAnswer = Result<v1::ProduceStreamResponse, Status>;
type ProduceAnswers = mpsc::Sender<ProduceAnswer>;
type ConsumeAnswers = mpsc::Sender<Result<v1::ConsumeStreamResponse, Status>>;

impl Node {
    /// Takes batches without waiting for the answers to earlier ones, which may be held back.
    async fn take_batches(self, mut requests: Streaming<v1::ProduceStreamRequest>, answers: ProduceAnswers) {
        let (ready, held) = mpsc::unbounded_channel();
        tokio::spawn(self.clone().give_answers(held, answers));
        while let Ok(Some(request)) = requests.message().await {
            let Some(answer) = self.take_batch(request) else { continue };
            let is_over = answer.is_err();
            if ready.send(answer).is_err() || is_over {
                return;
            }
        }
    }

    async fn give_answers(self, mut held: mpsc::UnboundedReceiver<ProduceAnswer>, answers: ProduceAnswers) {
        while let Some(answer) = held.recv().await {
            self.state.answers.acquire().await.expect("it is never closed").forget();
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }

    /// What to answer, if anything; an error ends the stream.
    fn take_batch(&self, request: v1::ProduceStreamRequest) -> Option<ProduceAnswer> {
        let batch = request.batch.expect("the client sends one");
        let fault = self.state.inner().produce_faults.pop_front().unwrap_or(ProduceFault::Pass);
        let broken = || Some(Err(Status::unavailable("the connection broke")));
        let mut reconnect_advised = false;
        match fault {
            ProduceFault::Pass => {}
            ProduceFault::BreakBefore => return broken(),
            ProduceFault::BreakAfter => {
                let _ = self.state.append(self.id, &batch);
                return broken();
            }
            ProduceFault::Silence => {
                let _ = self.state.append(self.id, &batch);
                return None;
            }
            ProduceFault::Refuse(error) => return Some(Ok(answer(request.request_id, Err(error)))),
            ProduceFault::Fail(error) => return Some(Err(error.into())),
            ProduceFault::AdviseReconnect => reconnect_advised = true,
        }
        let result = self.state.append(self.id, &batch);
        let answer = answer(request.request_id, result);
        Some(Ok(v1::ProduceStreamResponse { reconnect_advised, ..answer }))
    }

    async fn send_batches(self, read: v1::ConsumeRequest, answers: ConsumeAnswers) {
        let fault = self.state.inner().consume_faults.pop_front();
        let mut appended = self.state.appended.subscribe();
        let bounds = read.bounds.unwrap_or_default();
        let start = self.state.inner().partitions[read.partition as usize].start(read.from);
        let mut next = match start {
            Ok(next) => next,
            Err(error) => return drop(answers.send(Err(error.into())).await),
        };
        let mut sent = 0;
        // A heartbeat, which must change nothing; a read with nothing in its bounds just ends.
        let is_quiet = self.state.inner().quiet || bounds.until_offset.is_some_and(|until| next >= until);
        if !is_quiet && answers.send(Ok(self.piece(read.partition, next, None))).await.is_err() {
            return;
        }
        loop {
            if bounds.until_offset.is_some_and(|until| next >= until) {
                return;
            }
            let mut batch = self.batch_at(read.partition, next);
            if let (Some(found), Some(ConsumeFault::LeaveOut)) = (&batch, &fault) {
                batch = self.batch_at(read.partition, found.last_offset().get() + 1);
            }
            let Some(batch) = batch else {
                if appended.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match fault {
                Some(ConsumeFault::BreakAfter(batches)) if batches == sent => {
                    let _ = answers.send(Err(Status::unavailable("the connection broke"))).await;
                    return;
                }
                Some(ConsumeFault::EndAfter(batches)) if batches == sent => return,
                Some(ConsumeFault::Fail(error)) => {
                    let _ = answers.send(Err(error.into())).await;
                    return;
                }
                _ => {}
            }
            next = batch.last_offset().get() + 1;
            sent += 1;
            let mut answer = self.piece(read.partition, next, Some(&batch));
            if let Some(ConsumeFault::Damage) = fault {
                damage(&mut answer);
            }
            if let Some(ConsumeFault::AdviseReconnectAfter(batches)) = fault {
                answer.reconnect_advised = batches == sent;
            }
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
            self.state.inner().batches_sent += 1;
        }
    }

    /// A piece with a batch, or none; the append time of a batch is its first offset, in milliseconds.
    fn piece(&self, partition: u32, next_offset: u64, batch: Option<&Batch>) -> v1::ConsumeStreamResponse {
        let encoded = batch.map(|batch| v1::EncodedBatch {
            data: batch.as_bytes().clone(),
            append_time: Some(timestamp_from_ms(batch.base_offset().get() as i64)),
        });
        let inner = self.state.inner();
        let partition = &inner.partitions[partition as usize];
        let batch = v1::ConsumeResponse {
            batches: encoded.into_iter().collect(),
            next_offset,
            log_start_offset: partition.log_start,
            high_watermark: partition.next_offset(),
            ..Default::default()
        };
        v1::ConsumeStreamResponse { batch: Some(batch), reconnect_advised: false }
    }

    fn batch_at(&self, partition: u32, offset: u64) -> Option<Batch> {
        let inner = self.state.inner();
        let batches = inner.partitions[partition as usize].batches.iter();
        batches.clone().find(|batch| batch.last_offset().get() >= offset).cloned()
    }
}

fn answer(request_id: u64, result: Result<v1::ProduceResponse, ApiError>) -> v1::ProduceStreamResponse {
    let result = match result {
        Ok(ack) => Answer::Ack(ack),
        Err(error) => Answer::Error(error.into()),
    };
    v1::ProduceStreamResponse { request_id, result: Some(result), reconnect_advised: false }
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

fn damage(answer: &mut v1::ConsumeStreamResponse) {
    let data = &mut answer.batch.as_mut().expect("there is one").batches[0].data;
    let mut bytes = data.to_vec();
    *bytes.last_mut().expect("a batch has bytes") ^= 1;
    *data = bytes.into();
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl LogService for Node {
    type ProduceStreamStream = BoxStream<v1::ProduceStreamResponse>;
    type ConsumeStreamStream = BoxStream<v1::ConsumeStreamResponse>;

    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        self.state.count("produce");
        let fault = self.state.inner().produce_faults.pop_front();
        if let Some(ProduceFault::Fail(error)) = fault {
            return Err(error.into());
        }
        let first_offset = Some(self.state.inner().partitions[0].next_offset());
        let partition = request.into_inner().partition.unwrap_or(0);
        Ok(Response::new(v1::ProduceResponse { partition, first_offset, ..Default::default() }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        self.state.count("produce_stream");
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(self.clone().take_batches(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn consume(&self, _: Request<v1::ConsumeRequest>) -> Result<Response<v1::ConsumeResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn consume_stream(
        &self,
        request: Request<v1::ConsumeStreamRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        self.state.count("consume_stream");
        let read = request.into_inner().read.expect("the client sends one");
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().send_batches(read, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_tail(
        &self,
        request: Request<v1::GetTailRequest>,
    ) -> Result<Response<v1::GetTailResponse>, Status> {
        let inner = self.state.inner();
        let partition = &inner.partitions[request.into_inner().partition as usize];
        Ok(Response::new(v1::GetTailResponse {
            log_start_offset: partition.log_start,
            high_watermark: partition.next_offset(),
            ..Default::default()
        }))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        self.state.count("init_producer");
        let mut inner = self.state.inner();
        inner.next_producer_id += 1;
        let fresh = (inner.next_producer_id, -1);
        let name = request.into_inner().name;
        let mut unnamed = fresh;
        let known =
            if name.is_empty() { &mut unnamed } else { inner.named_producers.entry(name).or_insert(fresh) };
        known.1 += 1;
        Ok(Response::new(v1::InitProducerResponse { producer_id: known.0, producer_epoch: known.1 }))
    }
}

#[tonic::async_trait]
impl ClusterService for Node {
    type WatchServersStream = Pin<Box<dyn Stream<Item = Result<v1::WatchServersResponse, Status>> + Send>>;

    async fn get_servers(
        &self,
        _: Request<v1::GetServersRequest>,
    ) -> Result<Response<v1::GetServersResponse>, Status> {
        let inner = self.state.inner();
        let server = |(id, addr): (usize, &String)| v1::Server {
            id: id as u64,
            rpc_addr: addr.clone(),
            is_leader: id == inner.leader,
            ..Default::default()
        };
        let servers = inner.addrs.iter().enumerate().map(server).collect();
        Ok(Response::new(v1::GetServersResponse { servers, cluster_id: "fake".into() }))
    }

    async fn watch_servers(
        &self,
        _: Request<v1::WatchServersRequest>,
    ) -> Result<Response<Self::WatchServersStream>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn get_cluster_health(
        &self,
        _: Request<v1::GetClusterHealthRequest>,
    ) -> Result<Response<v1::GetClusterHealthResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn init_cluster(
        &self,
        _: Request<v1::InitClusterRequest>,
    ) -> Result<Response<v1::InitClusterResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn join_cluster(
        &self,
        _: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn transfer_leadership(
        &self,
        _: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn decommission_server(
        &self,
        _: Request<v1::DecommissionServerRequest>,
    ) -> Result<Response<v1::DecommissionServerResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        self.state.count("create_topic");
        let fault = self.state.inner().produce_faults.pop_front();
        if let Some(ProduceFault::Fail(error)) = fault {
            return Err(error.into());
        }
        let topic = v1::Topic { name: request.into_inner().name, ..Default::default() };
        Ok(Response::new(v1::CreateTopicResponse { topic: Some(topic) }))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        // Three pages of one topic.
        let page: u32 = request.into_inner().page_token.parse().unwrap_or(0);
        let topic = v1::TopicSummary { name: format!("topic-{page}"), ..Default::default() };
        let next_page_token = if page < 2 { (page + 1).to_string() } else { String::new() };
        Ok(Response::new(v1::ListTopicsResponse { topics: vec![topic], next_page_token }))
    }

    async fn describe_topic(
        &self,
        request: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        self.state.count("describe_topic");
        let name = request.into_inner().name;
        if name != TOPIC {
            return Err(ApiError::new(Reason::TopicNotFound, "no such topic").into());
        }
        let inner = self.state.inner();
        let partition = |partition: usize| v1::Partition {
            partition: partition as u32,
            leader: Some(inner.leader as u64),
            replicas: (0..inner.addrs.len() as u64).collect(),
            ..Default::default()
        };
        let partitions = (0..inner.partitions.len()).map(partition).collect();
        let topic = v1::Topic { name, partitions, ..Default::default() };
        Ok(Response::new(v1::DescribeTopicResponse { topic: Some(topic) }))
    }

    async fn alter_topic(
        &self,
        _: Request<v1::AlterTopicRequest>,
    ) -> Result<Response<v1::AlterTopicResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn delete_topic(
        &self,
        _: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        Err(Status::unimplemented("not in the double"))
    }

    async fn trim_topic(
        &self,
        request: Request<v1::TrimTopicRequest>,
    ) -> Result<Response<v1::TrimTopicResponse>, Status> {
        let inner = self.state.inner();
        if inner.leader != self.id {
            let leader = inner.addrs[inner.leader].clone();
            return Err(ApiError::new(Reason::NotLeader, "not me").with(meta::LEADER_ADDR, leader).into());
        }
        Ok(Response::new(v1::TrimTopicResponse { log_start_offset: request.into_inner().before_offset }))
    }
}

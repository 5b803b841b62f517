//! A node to test, and what tests say often.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use varve_api::error::{ApiError, Reason};
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::log_v1::log_client::LogClient;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_env::Env;
use varve_env::disk::{CrashMode, FaultyDisk};
use varve_record::{Batch, BatchBuilder, Compression, Timestamp};
use varve_server::{Node, NodeConfig, StartError};

/// How long a test waits for what must come. Never waited for in a run that passes.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) const TOPIC: &str = "events";

/// A node on a disk in memory, and its clients.
pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) disk: FaultyDisk,
    pub(crate) log: LogServiceClient<Channel>,
    pub(crate) cluster: ClusterServiceClient<Channel>,
    pub(crate) book: LogClient<Channel>,
}

/// Where the node's data lie on a disk in memory.
pub(crate) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

/// Settings for a port that is free, and few and small files.
pub(crate) fn config() -> NodeConfig {
    let mut config = NodeConfig::new(data_dir());
    config.rpc_addr = "127.0.0.1:0".parse().unwrap();
    config.bootstrap = true;
    config.segment_bytes = 1024 * 1024;
    config
}

pub(crate) fn env_on(disk: &FaultyDisk) -> Env {
    let telemetry = varve_exporter::testing::telemetry("varve-server");
    Env { disk: Arc::new(disk.clone()), telemetry, ..Env::real() }
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_with(FaultyDisk::new(1), config()).await
    }

    pub(crate) async fn start_with(disk: FaultyDisk, config: NodeConfig) -> Self {
        Self::try_start(disk, config).await.expect("the node starts")
    }

    pub(crate) async fn try_start(disk: FaultyDisk, config: NodeConfig) -> Result<Self, StartError> {
        let node = Node::start(env_on(&disk), config).await?;
        let channel = connect(&node).await;
        let log = LogServiceClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(2 * MESSAGE_BYTES_MAX);
        let cluster = ClusterServiceClient::new(channel.clone());
        let book = LogClient::new(channel);
        Ok(Self { node, disk, log, cluster, book })
    }

    /// Stops the node, and starts it again on the same disk.
    pub(crate) async fn restart(self, config: NodeConfig) -> Self {
        let Self { node, disk, .. } = self;
        within(node.shutdown()).await.expect("a clean stop");
        Self::start_with(disk, config).await
    }

    /// Ends the node without a stop, and starts it again on what the crash left.
    pub(crate) async fn crash(self, mode: CrashMode, config: NodeConfig) -> Self {
        let Self { node, disk, .. } = self;
        let after = disk.crash(mode);
        drop(node);
        Self::start_with(after, config).await
    }

    pub(crate) async fn create_topic(&mut self, name: &str, partitions: u32) {
        let request = v1::CreateTopicRequest { name: name.to_owned(), partitions, ..Default::default() };
        self.cluster.create_topic(request).await.expect("the topic is made");
    }

    /// Produces one record to partition 0 of [`TOPIC`].
    pub(crate) async fn produce(&mut self, value: &str) -> u64 {
        let response = within(self.log.produce(values(&[value]))).await.expect("it is appended");
        response.into_inner().first_offset.unwrap()
    }

    /// The high watermark of partition 0 of [`TOPIC`], if it is there.
    pub(crate) async fn try_tail(&mut self) -> Option<u64> {
        let request = v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() };
        Some(within(self.log.get_tail(request)).await.ok()?.into_inner().high_watermark)
    }

    /// The value of the first record of partition 0 of [`TOPIC`].
    pub(crate) async fn first_value(&mut self) -> String {
        let piece = within(self.log.consume(consume_from(0))).await.expect("it is read").into_inner();
        text(piece.records[0].value.as_ref().unwrap())
    }

    /// The values of all records of partition 0 of [`TOPIC`].
    pub(crate) async fn all_values(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let mut request = consume_from(next.unwrap_or(0));
            if next.is_none() {
                request.from = None;
            }
            let piece = within(self.log.consume(request)).await.expect("it is read").into_inner();
            if piece.records.is_empty() {
                return found;
            }
            found.extend(piece.records.iter().map(|r| text(r.value.as_ref().unwrap())));
            next = Some(piece.next_offset);
        }
    }
}

pub(crate) async fn connect(node: &Node) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.rpc_addr())).unwrap();
    endpoint.connect().await.expect("the node is there")
}

/// A deadline for what must come.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it comes in time")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn record(value: impl Into<Vec<u8>>) -> v1::ProduceRecord {
    v1::ProduceRecord { value: Some(Bytes::from(value.into())), ..Default::default() }
}

/// A request for records with these values, to partition 0 of [`TOPIC`].
pub(crate) fn values(values: &[&str]) -> v1::ProduceRequest {
    let records = values.iter().map(|value| record(*value)).collect();
    v1::ProduceRequest { topic: TOPIC.to_owned(), partition: Some(0), records, ..Default::default() }
}

/// A request for an encoded batch, to partition 0 of [`TOPIC`].
pub(crate) fn encoded(batch: &Batch) -> v1::ProduceRequest {
    v1::ProduceRequest { encoded_batch: batch.as_bytes().clone(), ..values(&[]) }
}

/// A batch of records with these values.
pub(crate) fn batch(values: &[&[u8]], compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new(compression);
    for value in values {
        builder.push(Timestamp::new(1_700_000_000_000), Some(b"key"), Some(value), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A read of partition 0 of [`TOPIC`] from an offset.
pub(crate) fn consume_from(offset: u64) -> v1::ConsumeRequest {
    let start = Some(v1::read_from::Start::Offset(offset));
    let from = Some(v1::ReadFrom { start, clamp: false });
    v1::ConsumeRequest { topic: TOPIC.to_owned(), from, ..Default::default() }
}

pub(crate) fn stream_from(offset: u64) -> v1::ConsumeStreamRequest {
    v1::ConsumeStreamRequest { read: Some(consume_from(offset)), heartbeat_interval: None }
}

/// The error of a call that must fail, with the reason that it must have.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>, reason: Reason) -> ApiError {
    let status = result.expect_err("it is refused");
    let error = ApiError::from_status(&status);
    assert_eq!(error.reason, reason, "{error}");
    assert_eq!(status.code(), reason.code());
    error
}

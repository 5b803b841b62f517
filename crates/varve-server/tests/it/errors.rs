//! Every reason of `docs/errors.md` that one node can give, reached by a real client.
//!
//! Elsewhere: OFFSET_TRIMMED in `consume`; EXPECTED_OFFSET_MISMATCH, FENCED and OUT_OF_ORDER_SEQUENCE in `produce`;
//! SHUTTING_DOWN in both streams; OVERLOADED in `bounded`; NO_LEADER in `lifecycle`; what clients say themselves, UNREACHABLE
//! and CONNECTION_LOST, with the client. Not reached: NOT_LEADER (one node leads all that can be led). PERMISSION_DENIED and
//! UNAUTHENTICATED: in `security`. COMMIT_UNKNOWN, CANCELLED and INTERNAL are held by the unit tests of the mapping.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Status;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
use varve_api::error::{Reason, meta};
use varve_api::prost_types;
use varve_api::v1;
use varve_env::disk::{CrashMode, FaultyDisk, OpKind};
use varve_record::{BatchBuilder, Compression, ProducerEpoch, ProducerId, Sequence, Timestamp};
use varve_server::{FatalError, NodeConfig};

use crate::support::{
    TOPIC, TestNode, batch, config, connect, consume_from, data_dir, encoded, record, refused, stream_from,
    values, within,
};

#[tokio::test]
async fn offset_beyond_tail() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let error = refused(node.log.consume(consume_from(2)).await, Reason::OffsetBeyondTail);
    assert_eq!(
        (error.number(meta::LOG_START_OFFSET), error.number(meta::HIGH_WATERMARK)),
        (Some(0), Some(1))
    );
    refused(node.log.consume(consume_from(u64::MAX)).await, Reason::OffsetBeyondTail);
    refused(node.log.consume_stream(stream_from(2)).await, Reason::OffsetBeyondTail);
    let trim = v1::TrimTopicRequest { topic: TOPIC.to_owned(), partition: 0, before_offset: 2 };
    refused(node.cluster.trim_topic(trim).await, Reason::OffsetBeyondTail);
}

#[tokio::test]
async fn unknown_producer() {
    let mut node = TestNode::start().await;
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(ProducerId::new(7), ProducerEpoch::new(0), Sequence::new(5));
    builder.push(Timestamp::new(0), None, Some(b"v"), &[]).unwrap();
    let error = refused(node.log.produce(encoded(&builder.build().unwrap())).await, Reason::UnknownProducer);
    assert_eq!(error.number(meta::PRODUCER_ID), Some(7));
}

#[tokio::test]
async fn record_too_large() {
    let mut node = TestNode::start().await;
    let too_large = vec![0; 1024 * 1024 + 1];
    let request = v1::ProduceRequest { records: vec![record(too_large)], ..values(&[]) };
    let error = refused(node.log.produce(request).await, Reason::RecordTooLarge);
    assert_eq!(error.number(meta::SIZE_BYTES_MAX), Some(1024 * 1024));
    assert!(error.number(meta::SIZE_BYTES) > Some(1024 * 1024));

    let settings = Some(v1::TopicSettings { record_bytes_max: Some(10), ..Default::default() });
    let alter = v1::AlterTopicRequest { name: TOPIC.to_owned(), settings, partitions: None };
    node.cluster.alter_topic(alter).await.unwrap();
    let error = refused(node.log.produce(values(&["eleven byte"])).await, Reason::RecordTooLarge);
    assert_eq!(error.number(meta::SIZE_BYTES_MAX), Some(10));
    let own = encoded(&batch(&[b"eleven byte"], Compression::Zstd));
    refused(node.log.produce(own).await, Reason::RecordTooLarge);
    node.log.produce(values(&["ten bytes!"])).await.unwrap();
}

#[tokio::test]
async fn batch_too_large() {
    let mut node = TestNode::start().await;
    let records = (0..9).map(|_| record(vec![0; 1_000_000])).collect();
    let request = v1::ProduceRequest { records, ..values(&[]) };
    let error = refused(node.log.produce(request).await, Reason::BatchTooLarge);
    assert_eq!(error.number(meta::SIZE_BYTES_MAX), Some(8 * 1024 * 1024));

    // Larger than any message may be: refused before it is read, by a code that clients know.
    let records = (0..20).map(|_| record(vec![0; 1_000_000])).collect();
    let request = v1::ProduceRequest { records, ..values(&[]) };
    let status = node.log.produce(request).await.unwrap_err();
    assert_eq!(varve_api::error::ApiError::from_status(&status).reason, Reason::BatchTooLarge);
}

#[tokio::test]
async fn invalid_batch() {
    let mut node = TestNode::start().await;
    let good = batch(&[b"v"], Compression::None).into_bytes();
    for place in [16, 20, good.len() - 1] {
        let mut bad = good.to_vec();
        bad[place] ^= 1;
        let request = v1::ProduceRequest { encoded_batch: Bytes::from(bad), ..values(&[]) };
        refused(node.log.produce(request).await, Reason::InvalidBatch);
    }
    let request = v1::ProduceRequest { encoded_batch: Bytes::from_static(b"no batch"), ..values(&[]) };
    refused(node.log.produce(request).await, Reason::InvalidBatch);
}

#[tokio::test]
async fn invalid_request() {
    let mut node = TestNode::start().await;
    node.create_topic("many", 2).await;
    let whole = batch(&[b"v"], Compression::None);
    let producer = |id, epoch| v1::ProduceRequest {
        producer: Some(v1::ProducerState { producer_id: id, producer_epoch: epoch, first_sequence: 0 }),
        ..values(&["v"])
    };
    let produces = [
        ("records", values(&[])),
        ("encoded_batch", v1::ProduceRequest { records: vec![record("v")], ..encoded(&whole) }),
        ("producer", v1::ProduceRequest { producer: producer(1, 1).producer, ..encoded(&whole) }),
        ("producer.producer_id", producer(-1, 0)),
        ("producer.producer_epoch", producer(1, 40_000)),
        ("producer.producer_epoch", producer(1, -1)),
        ("acks", v1::ProduceRequest { acks: 9, ..values(&["v"]) }),
        ("partition", v1::ProduceRequest { topic: "many".to_owned(), partition: None, ..encoded(&whole) }),
    ];
    for (field, request) in produces {
        let error = refused(node.log.produce(request).await, Reason::InvalidRequest);
        assert_eq!(error.get(meta::FIELD), Some(field));
    }

    node.produce("v").await;
    let bad_time = prost_types::Timestamp { seconds: 0, nanos: -1 };
    let bad_wait = prost_types::Duration { seconds: -1, nanos: 0 };
    let until_time = v1::ReadBounds { until_time: Some(bad_time), ..Default::default() };
    let reads = [
        ("format", v1::ConsumeRequest { format: 9, ..consume_from(0) }),
        ("consistency", v1::ConsumeRequest { consistency: 9, ..consume_from(0) }),
        ("max_wait", v1::ConsumeRequest { max_wait: Some(bad_wait), ..consume_from(0) }),
        ("bounds.until_time", v1::ConsumeRequest { bounds: Some(until_time), ..consume_from(0) }),
    ];
    for (field, request) in reads {
        let error = refused(node.log.consume(request).await, Reason::InvalidRequest);
        assert_eq!(error.get(meta::FIELD), Some(field));
    }
    let nothing = v1::ConsumeStreamRequest::default();
    refused(node.log.consume_stream(nothing).await, Reason::InvalidRequest);

    let settings = Some(v1::TopicSettings { segment_bytes: Some(1), ..Default::default() });
    let create = v1::CreateTopicRequest { name: "new".to_owned(), settings, ..Default::default() };
    let error = refused(node.cluster.create_topic(create).await, Reason::InvalidRequest);
    assert_eq!(error.get(meta::FIELD), Some("settings.segment_bytes"));
    let fewer = v1::AlterTopicRequest { name: "many".to_owned(), partitions: Some(1), settings: None };
    refused(node.cluster.alter_topic(fewer).await, Reason::InvalidRequest);
    let long = v1::InitProducerRequest { name: "x".repeat(250), ..Default::default() };
    refused(node.log.init_producer(long).await, Reason::InvalidRequest);
}

#[tokio::test]
async fn topics_that_are_not_there_or_cannot_be() {
    let mut settings = config();
    settings.auto_create_topics = false;
    let mut node = TestNode::start_with(FaultyDisk::new(1), settings).await;
    let error = refused(node.log.produce(values(&["v"])).await, Reason::TopicNotFound);
    assert_eq!(error.get(meta::TOPIC), Some(TOPIC));
    refused(node.log.consume(consume_from(0)).await, Reason::TopicNotFound);
    refused(node.log.consume_stream(stream_from(0)).await, Reason::TopicNotFound);
    let tail = v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() };
    refused(node.log.get_tail(tail).await, Reason::TopicNotFound);
    let describe = v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing: true };
    refused(node.cluster.describe_topic(describe).await, Reason::TopicNotFound);
    let alter = v1::AlterTopicRequest { name: TOPIC.to_owned(), ..Default::default() };
    refused(node.cluster.alter_topic(alter).await, Reason::TopicNotFound);
    refused(
        node.cluster.delete_topic(v1::DeleteTopicRequest { name: TOPIC.to_owned() }).await,
        Reason::TopicNotFound,
    );

    for name in ["", ".", "a/b", "ä"] {
        let create = v1::CreateTopicRequest { name: name.to_owned(), ..Default::default() };
        let error = refused(node.cluster.create_topic(create).await, Reason::InvalidTopicName);
        assert_eq!(error.get(meta::TOPIC), Some(name));
        let produce = v1::ProduceRequest { topic: name.to_owned(), ..values(&["v"]) };
        refused(node.log.produce(produce).await, Reason::InvalidTopicName);
    }
    node.create_topic(TOPIC, 2).await;
    let create = v1::CreateTopicRequest { name: TOPIC.to_owned(), ..Default::default() };
    refused(node.cluster.create_topic(create).await, Reason::TopicExists);
    let error = refused(
        node.log.produce(v1::ProduceRequest { partition: Some(2), ..values(&["v"]) }).await,
        Reason::PartitionNotFound,
    );
    assert_eq!((error.number(meta::PARTITION), error.number(meta::PARTITIONS)), (Some(2), Some(2)));
}

#[tokio::test]
async fn quota() {
    let mut node = TestNode::start().await;
    let create =
        v1::CreateTopicRequest { name: TOPIC.to_owned(), partitions: 1_000_000, ..Default::default() };
    let error = refused(node.cluster.create_topic(create).await, Reason::Quota);
    assert!(error.get(meta::LIMIT).is_some());
}

#[tokio::test]
async fn unimplemented() {
    let node = TestNode::start().await;
    // A service that this server does not have.
    let mut client = ServerReflectionClient::new(connect(&node.node).await);
    let call = client.server_reflection_info(futures::stream::empty());
    let status = within(call).await.unwrap_err();
    assert_eq!(varve_api::error::ApiError::from_status(&status).reason, Reason::Unimplemented);
}

#[tokio::test]
async fn deadline() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let mut request =
        tonic::Request::new(v1::ConsumeRequest { min_applied_offset: Some(9), ..consume_from(0) });
    request.set_timeout(std::time::Duration::from_millis(50));
    let status = within(node.log.consume(request)).await.unwrap_err();
    assert_eq!(varve_api::error::ApiError::from_status(&status).reason, Reason::Deadline);
}

#[tokio::test]
async fn disk_full_and_on_again_once_there_is_room() {
    let mut node = TestNode::start().await;
    node.produce("before").await;
    node.disk.set_capacity(Some(1));
    let large = encoded(&batch(&[&[b'x'; 500_000]], Compression::None));
    let Filled { refusal, mut waiting, .. } = fill(&node, &large).await;
    let error = refused(refusal, Reason::DiskFull);
    assert!(error.retry_after.is_some());
    assert_eq!(node.first_value().await, "before", "what is there can be read");

    node.disk.set_capacity(None);
    while let Some(finished) = within(waiting.join_next()).await {
        // Those that waited got on; those that came while there was no room were refused.
        drop(finished.unwrap().map_err(|status| refused::<()>(Err(status), Reason::DiskFull)));
    }
    loop {
        match within(node.log.produce(values(&["after"]))).await {
            Ok(_) => break,
            // Until the node has looked again.
            full => drop(refused(full, Reason::DiskFull)),
        }
    }
}

#[tokio::test]
async fn a_topic_that_finds_the_disk_full_is_whole_once_there_is_room() {
    let settings = NodeConfig { retention_interval: Duration::from_millis(1), ..config() };
    let mut node = TestNode::start_with(FaultyDisk::new(1), settings).await;
    // The metadata have room for one entry more, where zeros were written ahead; a partition has none.
    node.create_topic("before", 1).await;
    let used: usize = node.disk.files().iter().map(|path| node.disk.contents(path).unwrap().len()).sum();
    node.disk.set_capacity(Some(used as u64));
    let create = v1::CreateTopicRequest { name: TOPIC.to_owned(), ..Default::default() };
    refused(within(node.cluster.create_topic(create)).await, Reason::DiskFull);
    refused(within(node.log.produce(values(&["v"]))).await, Reason::DiskFull);
    node.disk.set_capacity(None);
    loop {
        match within(node.log.produce(values(&["v"]))).await {
            Ok(_) => break,
            // Until the node has looked again.
            full => drop(refused(full, Reason::DiskFull)),
        }
    }
    assert_eq!(node.all_values().await, ["v"]);
}

#[tokio::test]
async fn a_trim_leads_out_of_a_full_disk_a_restart_included() {
    let settings = NodeConfig { segment_bytes: 64 * 1024, ..config() };
    let mut node = TestNode::start_with(FaultyDisk::new(1), settings.clone()).await;
    node.produce("before").await;
    node.disk.set_capacity(Some(8_000_000));
    let large = encoded(&batch(&[&[b'x'; 50_000]], Compression::None));
    let filled = fill(&node, &large).await;
    drop(refused(filled.refusal, Reason::DiskFull));
    let mut node = node.crash(CrashMode::SyncedOnly, settings).await;
    let tail = node.try_tail().await.expect("it can be read");
    assert!(tail > filled.acknowledged, "{tail} of {}", filled.acknowledged);
    let trim = v1::TrimTopicRequest { topic: TOPIC.to_owned(), partition: 0, before_offset: tail };
    within(node.cluster.trim_topic(trim)).await.expect("a trim goes in");
    let taken = async {
        // Until the node has looked again.
        while let full @ Err(_) = node.log.produce(large.clone()).await {
            drop(refused(full, Reason::DiskFull));
        }
    };
    within(taken).await;
}

#[tokio::test]
async fn storage_stopped_ends_the_node() {
    let mut node = TestNode::start().await;
    node.produce("before").await;
    let failed = node.node.failed();
    node.disk.fail_from(OpKind::Sync, 0, ErrorKind::Other);
    let lost = within(node.log.produce(values(&["lost?"]))).await;
    refused(lost, Reason::StorageStopped);
    assert!(matches!(within(failed).await, FatalError::Storage(_)));
    node.disk.heal();
    refused(within(node.log.produce(values(&["never"]))).await, Reason::StorageStopped);
}

#[tokio::test]
async fn data_loss_is_told_with_file_and_position_and_harms_nobody_else() {
    let mut node = TestNode::start().await;
    let large = vec![b'x'; 400_000];
    // Several segments, so that the damage lies in one that is not the last.
    for _ in 0..10 {
        node.log.produce(encoded(&batch(&[&large], Compression::None))).await.unwrap();
    }
    let other = v1::ProduceRequest { topic: "other".to_owned(), ..values(&["sound"]) };
    node.log.produce(other).await.unwrap();
    let TestNode { node: running, disk, .. } = node;
    within(running.shutdown()).await.unwrap();

    let victim = first_segment(&disk);
    disk.flip(&victim, 300_000, 0x10).unwrap();
    let mut node = TestNode::start_with(disk, config()).await;
    let error = refused(within(node.log.consume(consume_from(0))).await, Reason::DataLoss);
    assert_eq!(error.get(meta::FILE), victim.to_str());
    assert!(error.number(meta::POSITION).is_some());
    let good = v1::ConsumeRequest { topic: "other".to_owned(), ..consume_from(0) };
    assert_eq!(node.log.consume(good).await.unwrap().into_inner().records.len(), 1);
    let last = node.log.consume(consume_from(9)).await.unwrap().into_inner();
    assert_eq!(last.records[0].value.as_ref().unwrap().len(), large.len(), "what is sound is served");
}

/// What came of filling a disk.
struct Filled {
    acknowledged: u64,
    refusal: Result<tonic::Response<v1::ProduceResponse>, Status>,
    /// Those that were let in before the node noticed, and wait for room.
    waiting: JoinSet<Result<tonic::Response<v1::ProduceResponse>, Status>>,
}

/// Produces until the node refuses. Those that were let in when the disk filled wait for room; whoever comes then is refused.
async fn fill(node: &TestNode, request: &v1::ProduceRequest) -> Filled {
    let mut waiting = JoinSet::new();
    let mut acknowledged = 0;
    loop {
        let (mut log, request) = (node.log.clone(), request.clone());
        waiting.spawn(async move { log.produce(request).await });
        let pause = Duration::from_millis(20);
        if let Ok(Some(finished)) = tokio::time::timeout(pause, waiting.join_next()).await {
            match finished.unwrap() {
                Ok(_) => acknowledged += 1,
                refusal => return Filled { acknowledged, refusal, waiting },
            }
        }
        assert!(waiting.len() < 1000, "nobody is refused");
    }
}

/// The file with the first records of [`TOPIC`], whose partition is the first after the metadata's.
fn first_segment(disk: &FaultyDisk) -> PathBuf {
    let dir = data_dir().join("partitions").join("0000000001");
    let mut segments: Vec<_> = disk
        .files()
        .into_iter()
        .filter(|path| path.starts_with(&dir) && path.extension().is_some_and(|ext| ext == "log"))
        .collect();
    segments.sort();
    assert!(segments.len() > 1, "{:?}", disk.files());
    segments.swap_remove(0)
}

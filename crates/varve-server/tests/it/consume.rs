//! Consume and ConsumeStream.

use std::time::Duration;

use tokio::task::yield_now;
use tonic::transport::Endpoint;
use varve_api::error::{Reason, meta};
use varve_api::limits::{CONSUME_BYTES_MAX, MESSAGE_BYTES_MAX};
use varve_api::prost_types;
use varve_api::v1;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_api::v1::read_from::Start;
use varve_record::Compression;

use crate::support::{
    SOON, TOPIC, TestNode, batch, consume_from, encoded, record, refused, stream_from, text, values, within,
};

fn offsets(piece: &v1::ConsumeResponse) -> Vec<u64> {
    piece.records.iter().map(|record| record.offset).collect()
}

fn from(start: Start, clamp: bool) -> v1::ConsumeRequest {
    let from = Some(v1::ReadFrom { start: Some(start), clamp });
    v1::ConsumeRequest { topic: TOPIC.to_owned(), from, ..Default::default() }
}

fn bounded(offset: u64, bounds: v1::ReadBounds) -> v1::ConsumeRequest {
    v1::ConsumeRequest { bounds: Some(bounds), ..consume_from(offset) }
}

fn wait(ms: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: ms / 1000, nanos: (ms % 1000) as i32 * 1_000_000 })
}

#[tokio::test]
async fn a_read_starts_where_it_was_told() {
    let mut node = TestNode::start().await;
    for _ in 0..3 {
        node.log.produce(values(&["a", "b", "c", "d"])).await.unwrap();
    }
    let mut read = async |request| offsets(&node.log.consume(request).await.unwrap().into_inner());
    assert_eq!(read(consume_from(5)).await, (5..12).collect::<Vec<_>>());
    assert_eq!(read(v1::ConsumeRequest { from: None, ..consume_from(0) }).await.len(), 12);
    assert_eq!(read(from(Start::TailOffset(3), false)).await, [9, 10, 11]);
    assert_eq!(read(from(Start::TailOffset(100), false)).await.len(), 12);
    assert_eq!(read(from(Start::TailOffset(0), false)).await, [0_u64; 0]);
    assert_eq!(read(consume_from(12)).await, [0_u64; 0], "the tail has nothing yet");
    assert_eq!(read(from(Start::Offset(99), true)).await, [0_u64; 0]);
    let time = |seconds| Start::Time(prost_types::Timestamp { seconds, nanos: 0 });
    assert_eq!(read(from(time(0), false)).await.len(), 12);
    assert_eq!(read(from(time(32_503_680_000), false)).await, [0_u64; 0], "nothing is from the year 3000");
}

#[tokio::test]
async fn a_read_from_a_time_starts_with_the_first_record_appended_then() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let before =
        node.log.consume(consume_from(0)).await.unwrap().into_inner().records[0].append_time.unwrap();
    // Append times are in milliseconds: the second must get a later one.
    while offsets(&node.log.consume(from(Start::Time(later(before)), false)).await.unwrap().into_inner())
        .is_empty()
    {
        node.produce("b").await;
    }
    let found = node.log.consume(from(Start::Time(later(before)), false)).await.unwrap().into_inner();
    let all = node.log.consume(consume_from(0)).await.unwrap().into_inner();
    let expected: Vec<_> = all
        .records
        .iter()
        .filter(|record| {
            record.append_time.unwrap().nanos != before.nanos
                || record.append_time.unwrap().seconds != before.seconds
        })
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets(&found), expected);

    let until = v1::ReadBounds { until_time: Some(later(before)), ..Default::default() };
    let rest = node.log.consume(bounded(0, until)).await.unwrap().into_inner();
    assert_eq!(rest.records.len() + expected.len(), all.records.len());
}

fn later(time: prost_types::Timestamp) -> prost_types::Timestamp {
    let ms = varve_api::time::ms_from_timestamp(&time).unwrap();
    varve_api::time::timestamp_from_ms(ms + 1)
}

#[tokio::test]
async fn a_read_ends_at_the_first_bound() {
    let mut node = TestNode::start().await;
    for _ in 0..3 {
        node.log.produce(values(&["aaaa", "bbbb", "cccc", "dddd"])).await.unwrap();
    }
    let mut read = async |bounds| {
        let piece = node.log.consume(bounded(1, bounds)).await.unwrap().into_inner();
        assert_eq!(piece.next_offset, piece.records.last().map_or(1, |record| record.offset + 1));
        offsets(&piece)
    };
    let none = v1::ReadBounds::default();
    assert_eq!(read(v1::ReadBounds { max_records: Some(2), ..none }).await, [1, 2]);
    assert_eq!(read(v1::ReadBounds { max_records: Some(0), ..none }).await, [0_u64; 0]);
    assert_eq!(read(v1::ReadBounds { max_records: Some(5), ..none }).await, [1, 2, 3, 4, 5]);
    assert_eq!(read(v1::ReadBounds { until_offset: Some(3), ..none }).await, [1, 2]);
    assert_eq!(read(v1::ReadBounds { until_offset: Some(1), ..none }).await, [0_u64; 0]);
    assert_eq!(read(v1::ReadBounds { until_offset: Some(99), ..none }).await.len(), 11);
    assert_eq!(read(v1::ReadBounds { max_bytes: Some(8), ..none }).await, [1, 2]);
    assert_eq!(read(v1::ReadBounds { max_bytes: Some(9), ..none }).await, [1, 2]);
    assert_eq!(read(v1::ReadBounds { max_bytes: Some(0), ..none }).await, [1], "a read always gets on");
    let both = v1::ReadBounds { max_records: Some(7), until_offset: Some(4), ..none };
    assert_eq!(read(both).await, [1, 2, 3]);
}

#[tokio::test]
async fn batches_come_whole_and_the_next_offset_keeps_to_the_bounds() {
    let mut node = TestNode::start().await;
    for _ in 0..3 {
        node.log.produce(encoded(&batch(&[b"a", b"b", b"c", b"d"], Compression::None))).await.unwrap();
    }
    let bounds = v1::ReadBounds { until_offset: Some(6), ..Default::default() };
    let mut request = bounded(1, bounds);
    request.format = v1::ReadFormat::Batches.into();
    let piece = node.log.consume(request).await.unwrap().into_inner();
    assert_eq!((piece.batches.len(), piece.next_offset), (2, 6));

    let bounds = v1::ReadBounds { max_bytes: Some(1), ..Default::default() };
    let mut request = bounded(0, bounds);
    request.format = v1::ReadFormat::Batches.into();
    let piece = node.log.consume(request).await.unwrap().into_inner();
    assert_eq!((piece.batches.len(), piece.next_offset), (1, 4), "the first is answered though it is larger");
}

#[tokio::test]
async fn large_batches_are_read_in_pieces_of_records() {
    let mut node = TestNode::start().await;
    let value = vec![b'x'; 300_000];
    for compression in [Compression::None, Compression::Zstd] {
        let values: Vec<&[u8]> = (0..20).map(|_| &value[..]).collect();
        node.log.produce(encoded(&batch(&values, compression))).await.unwrap();
    }
    let mut next = 0;
    while next < 40 {
        let piece = node.log.consume(consume_from(next)).await.unwrap().into_inner();
        let bytes: usize = piece.records.iter().map(|record| record.value.as_ref().unwrap().len()).sum();
        assert!(bytes <= CONSUME_BYTES_MAX && !piece.records.is_empty(), "{bytes} bytes");
        assert_eq!(piece.records[0].offset, next);
        next = piece.next_offset;
    }

    let mut request = stream_from(0);
    request.read.as_mut().unwrap().bounds =
        Some(v1::ReadBounds { max_records: Some(40), ..Default::default() });
    let mut stream = node.log.consume_stream(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(message) = within(stream.message()).await.unwrap() {
        seen.extend(offsets(&message.batch.unwrap()));
    }
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_tiny_records_keep_within_a_message() {
    let mut node = TestNode::start().await;
    let values: Vec<&[u8]> = (0..200_000).map(|_| &b""[..]).collect();
    node.log.produce(encoded(&batch(&values, Compression::None))).await.unwrap();
    let piece = node.log.consume(consume_from(0)).await.unwrap().into_inner();
    assert!(piece.records.len() < 200_000 && piece.records.len() > 1000, "{}", piece.records.len());

    let mut request = stream_from(0);
    request.read.as_mut().unwrap().bounds =
        Some(v1::ReadBounds { until_offset: Some(200_000), ..Default::default() });
    let mut stream = node.log.consume_stream(request).await.unwrap().into_inner();
    let mut next = 0;
    while let Some(message) = within(stream.message()).await.unwrap() {
        for offset in offsets(&message.batch.unwrap()) {
            assert_eq!(offset, next);
            next += 1;
        }
    }
    assert_eq!(next, 200_000);
}

#[tokio::test]
async fn a_read_at_the_tail_waits_as_long_as_it_was_told() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let empty = within(node.log.consume(v1::ConsumeRequest { max_wait: wait(1), ..consume_from(1) })).await;
    let empty = empty.unwrap().into_inner();
    assert_eq!((empty.records.len(), empty.next_offset, empty.high_watermark), (0, 1, 1));

    let mut reader = node.log.clone();
    let request = v1::ConsumeRequest { max_wait: wait(60_000), ..consume_from(1) };
    let reading = tokio::spawn(async move { reader.consume(request).await });
    yield_now().await;
    node.produce("b").await;
    let piece = within(reading).await.unwrap().unwrap().into_inner();
    assert_eq!(offsets(&piece), [1]);
}

#[tokio::test]
async fn a_stream_follows_the_tail() {
    let mut node = TestNode::start().await;
    node.create_topic(TOPIC, 1).await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(node.log.consume_stream(stream_from(0)).await.unwrap().into_inner());
    }
    for place in 0..20_u64 {
        node.produce(&place.to_string()).await;
        for stream in &mut readers {
            let message = within(stream.message()).await.unwrap().unwrap().batch.unwrap();
            assert_eq!(offsets(&message), [place]);
            assert_eq!(text(message.records[0].value.as_ref().unwrap()), place.to_string());
        }
    }
}

#[tokio::test]
async fn an_idle_stream_sends_heartbeats_if_asked() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let mut request = stream_from(1);
    request.heartbeat_interval = wait(100);
    let mut stream = node.log.consume_stream(request).await.unwrap().into_inner();
    for _ in 0..3 {
        let beat = within(stream.message()).await.unwrap().unwrap();
        assert!(!beat.reconnect_advised);
        let piece = beat.batch.unwrap();
        assert_eq!((piece.records.len(), piece.next_offset, piece.high_watermark), (0, 1, 1));
    }
    node.produce("b").await;
    loop {
        let piece = within(stream.message()).await.unwrap().unwrap().batch.unwrap();
        if !piece.records.is_empty() {
            assert_eq!(offsets(&piece), [1]);
            return;
        }
    }
}

#[tokio::test]
async fn a_bounded_stream_ends_by_itself() {
    let mut node = TestNode::start().await;
    node.log.produce(values(&["a", "b", "c"])).await.unwrap();
    let mut request = stream_from(0);
    request.read.as_mut().unwrap().bounds =
        Some(v1::ReadBounds { until_offset: Some(4), ..Default::default() });
    let mut stream = node.log.consume_stream(request).await.unwrap().into_inner();
    assert_eq!(offsets(&within(stream.message()).await.unwrap().unwrap().batch.unwrap()), [0, 1, 2]);
    node.log.produce(values(&["d", "e"])).await.unwrap();
    assert_eq!(offsets(&within(stream.message()).await.unwrap().unwrap().batch.unwrap()), [3]);
    assert!(within(stream.message()).await.unwrap().is_none());

    // No record can come any more that was appended before a time that has passed.
    let mut request = stream_from(0);
    let until_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    request.read.as_mut().unwrap().bounds = Some(v1::ReadBounds { until_time, ..Default::default() });
    let mut stream = node.log.consume_stream(request).await.unwrap().into_inner();
    assert!(within(stream.message()).await.unwrap().is_none());
    let mut request = stream_from(5);
    request.read.as_mut().unwrap().bounds = Some(v1::ReadBounds { until_time, ..Default::default() });
    let mut stream = node.log.consume_stream(request).await.unwrap().into_inner();
    assert!(within(stream.message()).await.unwrap().is_none(), "at the tail too");
}

#[tokio::test]
async fn freshness_is_waited_for() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let mut reader = node.log.clone();
    let request = v1::ConsumeRequest { min_applied_offset: Some(2), ..consume_from(0) };
    let reading = tokio::spawn(async move { reader.consume(request).await });
    yield_now().await;
    node.produce("b").await;
    let piece = within(reading).await.unwrap().unwrap().into_inner();
    assert_eq!(offsets(&piece), [0, 1]);

    let consistency = v1::ReadConsistency::Linearizable.into();
    let piece = node.log.consume(v1::ConsumeRequest { consistency, ..consume_from(0) }).await.unwrap();
    assert_eq!(piece.into_inner().high_watermark, 2);
}

#[tokio::test]
async fn what_was_trimmed_is_refused_and_clamped() {
    let mut node = TestNode::start().await;
    node.log.produce(values(&["a", "b", "c", "d"])).await.unwrap();
    let request = v1::TrimTopicRequest { topic: TOPIC.to_owned(), partition: 0, before_offset: 3 };
    assert_eq!(node.cluster.trim_topic(request).await.unwrap().into_inner().log_start_offset, 3);

    let error = refused(node.log.consume(consume_from(2)).await, Reason::OffsetTrimmed);
    assert_eq!(
        (error.number(meta::LOG_START_OFFSET), error.number(meta::HIGH_WATERMARK)),
        (Some(3), Some(4))
    );
    let piece = node.log.consume(from(Start::Offset(0), true)).await.unwrap().into_inner();
    assert_eq!((offsets(&piece), piece.log_start_offset), (vec![3], 3));
    let piece = node.log.consume(from(Start::TailOffset(100), false)).await.unwrap().into_inner();
    assert_eq!(offsets(&piece), [3]);
    refused(node.log.consume_stream(stream_from(2)).await, Reason::OffsetTrimmed);
}

/// The windows of a reader that takes nothing fill, and then nothing more is read for it: counted in reads of the disk.
#[tokio::test]
async fn a_slow_reader_is_not_read_ahead_of() {
    let mut node = TestNode::start().await;
    let value = vec![b'x'; 1_000_000];
    let one = encoded(&batch(&[&value], Compression::None));
    let count = 60;
    for _ in 0..count {
        node.log.produce(one.clone()).await.unwrap();
    }
    let slow = Endpoint::from_shared(format!("http://{}", node.node.rpc_addr()))
        .unwrap()
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(64 * 1024);
    let mut slow =
        LogServiceClient::new(slow.connect().await.unwrap()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    drop(node.disk.take_journal());
    let mut request = stream_from(0);
    request.read.as_mut().unwrap().format = v1::ReadFormat::Batches.into();
    let mut stream = slow.consume_stream(request).await.unwrap().into_inner();
    let read = settled(|| count_reads(&node)).await;
    // One piece waits, one is on its way, and one more may be in the transport's buffers.
    assert!(read <= 8, "{read} reads for a reader that takes nothing");

    // It is not stuck: once it takes them it gets all.
    let mut next = 0;
    while next < count {
        next = within(stream.message()).await.unwrap().unwrap().batch.unwrap().next_offset;
    }
}

/// Reads of the disk since the last call.
fn count_reads(node: &TestNode) -> usize {
    use varve_env::disk::OpKind;
    node.disk.take_journal().iter().filter(|op| op.kind == OpKind::Read).count()
}

/// The sum of what `count` gives, once it gives nothing more for a while.
async fn settled(mut count: impl FnMut() -> usize) -> usize {
    let mut sum = 0;
    let mut quiet = 0;
    let deadline = tokio::time::Instant::now() + SOON;
    while quiet < 20 {
        assert!(tokio::time::Instant::now() < deadline, "it never settles");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let more = count();
        quiet = if more == 0 { quiet + 1 } else { 0 };
        sum += more;
    }
    sum
}

#[tokio::test]
async fn a_stopping_node_sends_its_readers_elsewhere() {
    let mut node = TestNode::start().await;
    node.log.produce(values(&["a", "b"])).await.unwrap();
    let mut stream = node.log.consume_stream(stream_from(0)).await.unwrap().into_inner();
    assert_eq!(offsets(&within(stream.message()).await.unwrap().unwrap().batch.unwrap()), [0, 1]);
    let mut waiting = node.log.clone();
    let request = v1::ConsumeRequest { max_wait: wait(60_000), ..consume_from(2) };
    let waiting = tokio::spawn(async move { waiting.consume(request).await });
    yield_now().await;

    let stopping = tokio::spawn(node.node.shutdown());
    let last = within(stream.message()).await.unwrap().unwrap();
    assert!(last.reconnect_advised);
    assert_eq!(last.batch.unwrap().next_offset, 2);
    refused(within(stream.message()).await, Reason::ShuttingDown);
    within(stopping).await.unwrap().unwrap();
    // The one that waited was answered, or came too late to be.
    if let Ok(piece) = within(waiting).await.unwrap() {
        assert_eq!(piece.into_inner().next_offset, 2);
    }
}

#[tokio::test]
async fn a_single_record_of_the_largest_size_passes() {
    let mut node = TestNode::start().await;
    let request = v1::ProduceRequest { records: vec![record(vec![7; 1024 * 1024])], ..values(&[]) };
    node.log.produce(request).await.unwrap();
    let piece = node.log.consume(consume_from(0)).await.unwrap().into_inner();
    assert_eq!(piece.records[0].value.as_ref().unwrap().len(), 1024 * 1024);
}

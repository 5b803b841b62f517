//! Produce, InitProducer and GetTail.

use bytes::Bytes;
use varve_api::error::{Reason, meta};
use varve_api::time::timestamp_from_ms;
use varve_api::v1;
use varve_record::{BatchBuilder, Compression, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::support::{TOPIC, TestNode, batch, consume_from, encoded, record, refused, values, within};

#[tokio::test]
async fn records_come_back_as_they_were_sent() {
    let mut node = TestNode::start().await;
    let header = |name: &str, value: Option<&'static [u8]>| v1::Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let sent = vec![
        v1::ProduceRecord {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v")),
            headers: vec![header("a", Some(b"1")), header("a", None), header("", Some(b""))],
            create_time: Some(timestamp_from_ms(1_600_000_000_123)),
        },
        v1::ProduceRecord { key: Some(Bytes::new()), value: None, ..Default::default() },
        v1::ProduceRecord { key: None, value: Some(Bytes::new()), ..Default::default() },
    ];
    let request = v1::ProduceRequest { records: sent.clone(), ..values(&[]) };
    let ack = node.log.produce(request).await.unwrap().into_inner();
    assert_eq!((ack.partition, ack.first_offset, ack.next_offset), (0, Some(0), Some(3)));
    assert!(ack.append_time.is_some() && !ack.duplicate);

    let piece = node.log.consume(consume_from(0)).await.unwrap().into_inner();
    assert_eq!((piece.next_offset, piece.log_start_offset, piece.high_watermark), (3, 0, 3));
    assert_eq!(piece.records.len(), sent.len());
    for (place, (record, sent)) in piece.records.iter().zip(&sent).enumerate() {
        assert_eq!(record.offset, place as u64);
        assert_eq!((&record.key, &record.value, &record.headers), (&sent.key, &sent.value, &sent.headers));
        assert_eq!(record.append_time, ack.append_time);
    }
    assert_eq!(piece.records[0].create_time, sent[0].create_time);
    assert!(piece.records[1].create_time.is_some(), "the server gives the time where the client does not");
}

#[tokio::test]
async fn an_encoded_batch_is_stored_as_it_was_sent() {
    let mut node = TestNode::start().await;
    for compression in
        [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Snappy, Compression::Gzip]
    {
        let value = vec![b'x'; 100_000];
        let sent = batch(&[b"one", &value], compression);
        let ack = node.log.produce(encoded(&sent)).await.unwrap().into_inner();
        let first = ack.first_offset.unwrap();

        let mut request = consume_from(first);
        request.format = v1::ReadFormat::Batches.into();
        let piece = node.log.consume(request).await.unwrap().into_inner();
        let stored = sent.with_base_offset(first.into());
        assert_eq!(piece.batches[0].data, stored.as_bytes(), "{compression}");

        let piece = node.log.consume(consume_from(first)).await.unwrap().into_inner();
        let values: Vec<_> = piece.records.iter().map(|record| record.value.clone().unwrap()).collect();
        assert_eq!(values, [Bytes::from_static(b"one"), Bytes::from(value)], "{compression}");
    }
}

#[tokio::test]
async fn a_key_always_goes_to_the_same_partition_and_others_are_spread() {
    let mut node = TestNode::start().await;
    node.create_topic(TOPIC, 4).await;
    let mut send = async |key: Option<&'static [u8]>| {
        let one = v1::ProduceRecord { key: key.map(Bytes::from_static), ..record("v") };
        let request = v1::ProduceRequest { partition: None, records: vec![one], ..values(&[]) };
        node.log.produce(request).await.unwrap().into_inner().partition
    };
    // Kafka's murmur2 of "foobar" is -790332482, and of "21" -973932308.
    let positive = |hash: i32| (hash as u32 & 0x7fff_ffff) % 4;
    assert_eq!(send(Some(b"foobar")).await, positive(-790_332_482));
    assert_eq!(send(Some(b"21")).await, positive(-973_932_308));
    assert_eq!(send(Some(b"21")).await, positive(-973_932_308));
    let mut spread = [send(None).await, send(None).await, send(None).await, send(None).await];
    spread.sort_unstable();
    assert_eq!(spread, [0, 1, 2, 3]);
}

#[tokio::test]
async fn an_append_can_be_conditional_on_its_offset() {
    let mut node = TestNode::start().await;
    let at = |offset| v1::ProduceRequest { expected_offset: Some(offset), ..values(&["v"]) };
    node.log.produce(at(0)).await.unwrap();
    let error = refused(node.log.produce(at(0)).await, Reason::ExpectedOffsetMismatch);
    assert_eq!((error.number(meta::EXPECTED_OFFSET), error.number(meta::ACTUAL_OFFSET)), (Some(0), Some(1)));
    node.log.produce(at(1)).await.unwrap();
}

#[tokio::test]
async fn weaker_acknowledgements_are_given_when_asked_for_by_name() {
    let mut node = TestNode::start().await;
    let with = |acks: v1::Acks| v1::ProduceRequest { acks: acks.into(), ..values(&["v"]) };
    let ack = node.log.produce(with(v1::Acks::None)).await.unwrap().into_inner();
    assert_eq!((ack.first_offset, ack.next_offset, ack.append_time), (None, None, None));
    let ack = node.log.produce(with(v1::Acks::Leader)).await.unwrap().into_inner();
    assert_eq!(ack.first_offset, Some(1));
}

#[tokio::test]
async fn a_retry_is_answered_with_the_first_attempt() {
    let mut node = TestNode::start().await;
    let identity = node.log.init_producer(v1::InitProducerRequest::default()).await.unwrap().into_inner();
    let send = |first_sequence| v1::ProduceRequest {
        producer: Some(v1::ProducerState {
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            first_sequence,
        }),
        ..values(&["a", "b"])
    };
    let first = node.log.produce(send(0)).await.unwrap().into_inner();
    let again = node.log.produce(send(0)).await.unwrap().into_inner();
    assert_eq!((first.duplicate, again.duplicate), (false, true));
    assert_eq!(again.first_offset, first.first_offset);
    assert_eq!(again.append_time, first.append_time);
    let error = refused(node.log.produce(send(5)).await, Reason::OutOfOrderSequence);
    assert_eq!(error.number(meta::EXPECTED_SEQUENCE), Some(2));
    node.log.produce(send(2)).await.unwrap();
    assert_eq!(node.all_values().await, ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn a_new_instance_of_a_named_producer_fences_the_one_before() {
    let mut node = TestNode::start().await;
    let name = || v1::InitProducerRequest { name: "billing".to_owned(), ..Default::default() };
    let old = node.log.init_producer(name()).await.unwrap().into_inner();
    let new = node.log.init_producer(name()).await.unwrap().into_inner();
    assert_eq!(new.producer_id, old.producer_id);
    assert_eq!(new.producer_epoch, old.producer_epoch + 1);

    let send = |identity: &v1::InitProducerResponse, first_sequence| {
        let mut builder = BatchBuilder::new(Compression::None);
        let epoch = ProducerEpoch::new(identity.producer_epoch as i16);
        builder.producer(ProducerId::new(identity.producer_id), epoch, Sequence::new(first_sequence));
        builder.push(Timestamp::new(0), None, Some(b"v"), &[]).unwrap();
        encoded(&builder.build().unwrap())
    };
    node.log.produce(send(&old, 0)).await.unwrap();
    node.log.produce(send(&new, 0)).await.unwrap();
    let error = refused(node.log.produce(send(&old, 1)).await, Reason::Fenced);
    assert_eq!(error.number(meta::CURRENT_EPOCH), Some(new.producer_epoch as u64));
}

#[tokio::test]
async fn fresh_producers_are_never_the_same() {
    let mut node = TestNode::start().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let identity = node.log.init_producer(v1::InitProducerRequest::default()).await.unwrap().into_inner();
        ids.push(identity.producer_id);
    }
    let mut node = node.restart(crate::support::config()).await;
    let identity = node.log.init_producer(v1::InitProducerRequest::default()).await.unwrap().into_inner();
    ids.push(identity.producer_id);
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn the_tail_is_told() {
    let mut node = TestNode::start().await;
    node.create_topic(TOPIC, 1).await;
    let request = || v1::GetTailRequest {
        topic: TOPIC.to_owned(),
        consistency: v1::ReadConsistency::Linearizable.into(),
        ..Default::default()
    };
    let tail = node.log.get_tail(request()).await.unwrap().into_inner();
    assert_eq!((tail.log_start_offset, tail.high_watermark, tail.last_append_time), (0, 0, None));
    assert_eq!(tail.log_start_time, None);
    let ack = node.log.produce(values(&["a", "b"])).await.unwrap().into_inner();
    let tail = node.log.get_tail(request()).await.unwrap().into_inner();
    assert_eq!((tail.log_start_offset, tail.high_watermark), (0, 2));
    assert_eq!(tail.log_start_time, ack.append_time);
    assert_eq!(tail.last_append_time, ack.append_time);
    assert!(tail.term > 0);
}

#[tokio::test]
async fn many_first_produces_make_a_topic_once() {
    let node = TestNode::start().await;
    let sends = (0..32).map(|_| {
        let mut log = node.log.clone();
        async move { log.produce(values(&["v"])).await.unwrap().into_inner().first_offset.unwrap() }
    });
    let mut offsets = within(futures::future::join_all(sends)).await;
    offsets.sort_unstable();
    assert_eq!(offsets, (0..32).collect::<Vec<_>>());
}

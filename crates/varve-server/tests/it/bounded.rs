//! What is not on the disk yet is bounded, and never acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinSet;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_record::Compression;
use varve_server::{Node, STREAM_BYTES_IN_FLIGHT_MAX, STREAM_WINDOW_BYTES};

use crate::gate::Gate;
use crate::support::{SOON, TOPIC, batch, config, connect, encoded, refused, values, within};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_server_with_too_much_under_way_says_so() {
    let gate = Gate::default();
    let settings = varve_server::NodeConfig { produce_bytes_in_flight_max: 8 * MIB, ..config() };
    let node = Node::start(gate.env(), settings).await.unwrap();
    let mut log = LogServiceClient::new(connect(&node).await);
    log.produce(values(&["before"])).await.unwrap();

    let shut = gate.shut();
    let three_mib =
        encoded(&batch(&[&vec![0; MIB - 9], &vec![0; MIB - 9], &vec![0; MIB - 9]], Compression::None));
    let mut under_way = JoinSet::new();
    for _ in 0..3 {
        let (mut log, request) = (log.clone(), three_mib.clone());
        under_way.spawn(async move { log.produce(request).await });
    }
    // Two fit; the third is told at once, and the two wait for the disk.
    let error = refused(within(under_way.join_next()).await.unwrap().unwrap(), Reason::Overloaded);
    assert!(error.retry_after.is_some() && error.get(meta::LIMIT).is_some());
    assert_eq!(under_way.len(), 2);
    drop(shut);
    while let Some(finished) = within(under_way.join_next()).await {
        finished.unwrap().unwrap();
    }
    within(node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn nothing_is_acknowledged_or_shown_before_it_is_on_the_disk() {
    let gate = Gate::default();
    let node = Node::start(gate.env(), config()).await.unwrap();
    let mut log = LogServiceClient::new(connect(&node).await);
    log.produce(values(&["a"])).await.unwrap();

    let shut = gate.shut();
    let mut request = tonic::Request::new(values(&["b"]));
    request.set_timeout(Duration::from_millis(100));
    let status = within(log.produce(request)).await.unwrap_err();
    assert_eq!(ApiError::from_status(&status).reason, Reason::Deadline);
    let none = v1::ProduceRequest { acks: v1::Acks::None.into(), ..values(&["c"]) };
    within(log.produce(none)).await.expect("who asks for no acknowledgement gets one at once");
    let tail = || v1::GetTailRequest { topic: TOPIC.to_owned(), ..Default::default() };
    assert_eq!(within(log.get_tail(tail())).await.unwrap().into_inner().high_watermark, 1);

    drop(shut);
    let deadline = tokio::time::Instant::now() + SOON;
    while within(log.get_tail(tail())).await.unwrap().into_inner().high_watermark < 3 {
        assert!(tokio::time::Instant::now() < deadline, "it never comes to the disk");
        tokio::task::yield_now().await;
    }
    within(node.shutdown()).await.unwrap();
}

/// The disk stands still: what a stream may send is what may be undecided, and what the connection's windows hold. The
/// batches go to several partitions, each of which alone would take more.
#[tokio::test]
async fn a_stream_is_held_back_by_the_disk() {
    let gate = Gate::default();
    let node = Node::start(gate.env(), config()).await.unwrap();
    let mut log = LogServiceClient::new(connect(&node).await);
    let mut cluster = ClusterServiceClient::new(connect(&node).await);
    let topic = v1::CreateTopicRequest { name: TOPIC.to_owned(), partitions: 4, ..Default::default() };
    cluster.create_topic(topic).await.unwrap();

    let shut = gate.shut();
    let one = encoded(&batch(&[&vec![0; MIB - 9]], Compression::None));
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let total = 100;
    let requests = futures::stream::iter(1..=total).map(move |request_id| {
        counted.fetch_add(1, Ordering::Relaxed);
        let batch = v1::ProduceRequest { partition: Some(request_id as u32 % 4), ..one.clone() };
        v1::ProduceStreamRequest { request_id, batch: Some(batch) }
    });
    let mut answers = log.produce_stream(requests).await.unwrap().into_inner();
    let (mut last, mut rests) = (0, 0);
    let deadline = tokio::time::Instant::now() + SOON;
    while rests < 20 {
        assert!(tokio::time::Instant::now() < deadline, "it never rests");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = sent.load(Ordering::Relaxed);
        rests = if now == last && now > 0 { rests + 1 } else { 0 };
        last = now;
    }
    // And one in each of the hands between.
    let most = (STREAM_BYTES_IN_FLIGHT_MAX + STREAM_WINDOW_BYTES as usize) / MIB + 8;
    assert!(last <= most, "{last} MiB were sent, at most {most} should be");

    drop(shut);
    let mut answered = 0;
    while let Some(answer) = within(answers.message()).await.unwrap() {
        answered += 1;
        assert_eq!(answer.request_id, answered);
        assert!(matches!(answer.result, Some(v1::produce_stream_response::Result::Ack(_))), "{answer:?}");
    }
    assert_eq!(answered, total);
    within(node.shutdown()).await.unwrap();
}

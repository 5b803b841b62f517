//! What is not on the disk yet is bounded, and never acknowledged.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use varve_api::error::{ApiError, Reason, meta};
use varve_api::headers;
use varve_api::limits::MESSAGE_BYTES_MAX;
use varve_api::v1;
use varve_api::v1::cluster_service_client::ClusterServiceClient;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_record::Compression;
use varve_server::{Node, STREAM_BYTES_ARRIVING_MAX, STREAM_BYTES_IN_FLIGHT_MAX, STREAM_WINDOW_BYTES};

use crate::gate::Gate;
use crate::support::{SOON, TOPIC, batch, config, connect, encoded, refused, values, within};
use crate::test_cluster::TestCluster;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_server_with_too_much_under_way_says_so() {
    let gate = Gate::default();
    let settings = varve_server::NodeConfig { produce_bytes_in_flight_max: 16 * MIB, ..config() };
    let node = Node::start(gate.env(), settings).await.unwrap();
    let mut log = LogServiceClient::new(connect(&node).await);
    log.produce(values(&["before"])).await.unwrap();

    let shut = gate.shut();
    let six_mib = encoded(&batch(&[&vec![0; MIB - 9][..]; 6], Compression::None));
    let mut under_way = JoinSet::new();
    for _ in 0..3 {
        let (mut log, request) = (log.clone(), six_mib.clone());
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

/// Waits until a count that has begun does not rise any more.
async fn until_it_rests(count: &AtomicUsize) -> usize {
    let (mut last, mut rests) = (0, 0);
    let deadline = tokio::time::Instant::now() + SOON;
    while rests < 20 {
        assert!(tokio::time::Instant::now() < deadline, "it never rests");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = count.load(Ordering::Relaxed);
        rests = if now == last && now > 0 { rests + 1 } else { 0 };
        last = now;
    }
    last
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
    let last = until_it_rests(&sent).await;
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

/// A message of which something comes, and not the rest: in the end it is called off.
struct Begun {
    first: Option<Bytes>,
    called_off: oneshot::Receiver<()>,
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.called_off.poll_unpin(cx).map(|_| Some(Err(Status::cancelled("no more of it comes"))))
    }
}

/// Begins a batch in a produce stream, as large as any may be. It is called off when what is given back is dropped.
async fn begin_a_batch(node: &Node) -> oneshot::Sender<()> {
    let length = u32::try_from(MESSAGE_BYTES_MAX).unwrap().to_be_bytes();
    let first = Some(Bytes::from([&[0][..], &length, &[0; 100]].concat()));
    let (call_off, called_off) = oneshot::channel();
    let to = format!("http://{}/varve.v1.LogService/ProduceStream", node.rpc_addr());
    let request = http::Request::post(to).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(Body::new(Begun { first, called_off })).unwrap();
    let mut channel = connect(node).await;
    tokio::spawn(async move {
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        if let Ok(answers) = channel.call(request).await {
            let mut answers = answers.into_body();
            let mut next = async || std::future::poll_fn(|cx| Pin::new(&mut answers).poll_frame(cx)).await;
            while let Some(Ok(_)) = next().await {}
        }
    });
    call_off
}

/// Produces one batch in a stream of its own.
async fn stream_one(node: &Node) -> v1::ProduceStreamResponse {
    let mut log = LogServiceClient::new(connect(node).await);
    let request = v1::ProduceStreamRequest { request_id: 1, batch: Some(values(&["x"])) };
    let answers = log.produce_stream(futures::stream::iter([request])).await.unwrap();
    answers.into_inner().message().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_wait_while_others_have_all_on_its_way_that_may_be() {
    let node = Node::start(Gate::default().env(), config()).await.unwrap();
    within(stream_one(&node)).await;
    let mut begun = Vec::new();
    for _ in 0..STREAM_BYTES_ARRIVING_MAX / MESSAGE_BYTES_MAX {
        begun.push(begin_a_batch(&node).await);
    }
    // Sooner or later they hold all the room.
    let mut waiting = Box::pin(stream_one(&node));
    let deadline = tokio::time::Instant::now() + SOON / 2;
    while tokio::time::timeout(Duration::from_millis(500), &mut waiting).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "there is always room");
        waiting = Box::pin(stream_one(&node));
    }
    // Single appends have room of their own.
    let mut log = LogServiceClient::new(connect(&node).await);
    within(log.produce(values(&["y"]))).await.unwrap();
    drop(begun);
    let answer = within(waiting).await;
    assert!(matches!(answer.result, Some(v1::produce_stream_response::Result::Ack(_))), "{answer:?}");
    within(node.shutdown()).await.unwrap();
}

/// What is handed on waits for another node, which may wait for this one: what the other hands on needs room here meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_on_leaves_room_for_what_another_node_hands_on() {
    let cluster = TestCluster::start_with(3, |config| config.produce_bytes_in_flight_max = 16 * MIB).await;
    let topic = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: 3,
        replication_factor: 1,
        ..Default::default()
    };
    cluster.create_topic(topic).await;
    cluster.healthy().await;
    let led_by = |topic: &v1::Topic, number: usize| {
        let mut partitions = topic.partitions.iter();
        partitions.find(|one| one.leader == Some(cluster.member(number).id())).unwrap().partition
    };
    let topic = cluster.describe(TOPIC).await;
    let (here, there) = (led_by(&topic, 2), led_by(&topic, 3));
    let one = encoded(&batch(&[&vec![0; MIB - 9]], Compression::None));

    // Node 3 can be reached by the controller, and not by node 2.
    cluster.switchboard.isolate(3, [2]);
    let (sent, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut streams = JoinSet::new();
    for _ in 0..4 {
        let mut log = LogServiceClient::new(connect(&cluster.member(2).node).await);
        let (sent, answered) = (Arc::clone(&sent), Arc::clone(&answered));
        let batch = v1::ProduceRequest { partition: Some(there), ..one.clone() };
        let requests = futures::stream::iter(1..=100).map(move |request_id| {
            sent.fetch_add(1, Ordering::Relaxed);
            v1::ProduceStreamRequest { request_id, batch: Some(batch.clone()) }
        });
        streams.spawn(async move {
            let mut answers = log.produce_stream(requests).await.unwrap().into_inner();
            while answers.message().await.is_ok_and(|answer| answer.is_some()) {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until_it_rests(&sent).await;
    // As another node hands it on.
    let batch = v1::ProduceRequest { partition: Some(here), ..values(&["x"]) };
    let requests = futures::stream::iter([v1::ProduceStreamRequest { request_id: 1, batch: Some(batch) }]);
    let mut request = tonic::Request::new(requests);
    request.metadata_mut().insert(headers::FORWARD, headers::FORWARD_NEVER.parse().unwrap());
    let answers = within(cluster.member(2).log.clone().produce_stream(request)).await.unwrap();
    let answer = within(answers.into_inner().message()).await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(v1::produce_stream_response::Result::Ack(_))), "{answer:?}");
    assert_eq!(answered.load(Ordering::Relaxed), 0, "none of the others has made room");
    cluster.switchboard.heal();
}

//! ProduceStream.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_api::v1::log_service_client::LogServiceClient;
use varve_api::v1::produce_stream_response::Result as Outcome;
use varve_record::Compression;

use crate::support::{SOON, TestNode, batch, config, encoded, record, refused, values, within};

struct Stream {
    requests: mpsc::Sender<v1::ProduceStreamRequest>,
    answers: Streaming<v1::ProduceStreamResponse>,
}

impl Stream {
    async fn open(node: &mut TestNode) -> Self {
        let (requests, queue) = mpsc::channel(4);
        let answers = node.log.produce_stream(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn send(&self, request_id: u64, batch: v1::ProduceRequest) {
        let request = v1::ProduceStreamRequest { request_id, batch: Some(batch) };
        within(self.requests.send(request)).await.unwrap();
    }

    async fn answer(&mut self) -> (u64, Result<v1::ProduceResponse, ApiError>) {
        let answer = within(self.answers.message()).await.unwrap().expect("an answer");
        let result = match answer.result.expect("a result") {
            Outcome::Ack(ack) => Ok(ack),
            Outcome::Error(error) => Err(error.into()),
        };
        (answer.request_id, result)
    }
}

#[tokio::test]
async fn batches_are_answered_in_order_and_the_stream_ends_with_the_last() {
    let mut node = TestNode::start().await;
    let mut stream = Stream::open(&mut node).await;
    let requests = stream.requests.clone();
    let sending = tokio::spawn(async move {
        for request_id in 0..500 {
            let batch = values(&[&format!("v{request_id}")]);
            requests.send(v1::ProduceStreamRequest { request_id, batch: Some(batch) }).await.unwrap();
        }
    });
    for expected in 0..500 {
        let (request_id, result) = stream.answer().await;
        assert_eq!((request_id, result.unwrap().first_offset), (expected, Some(expected)));
    }
    sending.await.unwrap();
    let Stream { requests, mut answers } = stream;
    drop(requests);
    assert!(within(answers.message()).await.unwrap().is_none(), "the stream ends well");
    assert_eq!(node.all_values().await.len(), 500);
}

#[tokio::test]
async fn a_refused_batch_is_answered_in_its_place() {
    let mut node = TestNode::start().await;
    let mut stream = Stream::open(&mut node).await;
    stream.send(1, values(&["a"])).await;
    stream.send(2, v1::ProduceRequest { expected_offset: Some(99), ..values(&["b"]) }).await;
    stream.send(3, v1::ProduceRequest { topic: "a/b".to_owned(), ..values(&["c"]) }).await;
    stream.send(4, v1::ProduceRequest { records: vec![record(vec![0; 2 << 20])], ..values(&[]) }).await;
    stream.send(7, values(&["d"])).await;
    assert_eq!(stream.answer().await.1.unwrap().first_offset, Some(0));
    for (id, reason) in
        [(2, Reason::ExpectedOffsetMismatch), (3, Reason::InvalidTopicName), (4, Reason::RecordTooLarge)]
    {
        let (request_id, result) = stream.answer().await;
        assert_eq!((request_id, result.unwrap_err().reason), (id, reason));
    }
    let (request_id, result) = stream.answer().await;
    assert_eq!((request_id, result.unwrap().first_offset), (7, Some(1)));
}

#[tokio::test]
async fn ids_that_do_not_rise_end_the_stream_after_what_came_before() {
    let mut node = TestNode::start().await;
    let mut stream = Stream::open(&mut node).await;
    stream.send(5, values(&["a"])).await;
    stream.send(5, values(&["b"])).await;
    assert_eq!(stream.answer().await.0, 5);
    refused(within(stream.answers.message()).await, Reason::InvalidRequest);
    assert_eq!(node.all_values().await, ["a"]);
}

/// A client that takes no answers is held back, and the memory that it costs is bounded: the server stops reading.
#[tokio::test]
async fn a_client_that_takes_no_answers_is_held_back() {
    let mut node = TestNode::start().await;
    let slow = Endpoint::from_shared(format!("http://{}", node.node.rpc_addr()))
        .unwrap()
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(64 * 1024);
    let mut slow = LogServiceClient::new(slow.connect().await.unwrap());
    let one = encoded(&batch(&[&[b'x'; 1024]], Compression::None));
    let requests = futures::stream::iter(1..u64::MAX)
        .map(move |request_id| v1::ProduceStreamRequest { request_id, batch: Some(one.clone()) });
    let answers = slow.produce_stream(requests).await.unwrap().into_inner();

    // What is in the log is what the server has read: it must come to a rest, at what may be unanswered and what the
    // transport holds of answers that were taken off.
    let most = varve_server::STREAM_BATCHES_IN_FLIGHT_MAX as u64 + 64 * 1024;
    let deadline = tokio::time::Instant::now() + SOON;
    let (mut tail, mut rests) = (0, 0);
    while rests < 20 {
        assert!(tokio::time::Instant::now() < deadline, "it never rests");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = node.try_tail().await.unwrap_or(0);
        assert!(now < most, "{now} batches were read of a client that takes no answers");
        rests = if now == tail && now > 0 { rests + 1 } else { 0 };
        tail = now;
    }
    drop(answers);
}

#[tokio::test]
async fn a_stopping_node_answers_what_was_sent_and_advises_to_reconnect() {
    let mut node = TestNode::start().await;
    let mut stream = Stream::open(&mut node).await;
    stream.send(1, values(&["a"])).await;
    stream.answer().await.1.unwrap();
    let TestNode { node: running, disk, .. } = node;
    let stopping = tokio::spawn(running.shutdown());
    // The stream goes on for a moment, and everything that it takes is answered.
    let (mut acknowledged, mut advised) = (HashSet::new(), false);
    let mut request_id = 1;
    let end = loop {
        request_id += 1;
        let request = v1::ProduceStreamRequest { request_id, batch: Some(values(&["b"])) };
        drop(stream.requests.try_send(request));
        match within(stream.answers.message()).await {
            Ok(Some(answer)) => {
                assert!(matches!(answer.result, Some(Outcome::Ack(_))), "{answer:?}");
                assert!(acknowledged.insert(answer.request_id), "answered twice");
                assert!(answer.reconnect_advised || !advised, "the advice is not taken back");
                advised = answer.reconnect_advised;
            }
            end => break end,
        }
    };
    refused(end, Reason::ShuttingDown);
    within(stopping).await.unwrap().unwrap();
    assert!(advised);
    let mut node = TestNode::start_with(disk, config()).await;
    let taken = node.all_values().await.into_iter().filter(|value| value == "b").count();
    assert_eq!(taken, acknowledged.len(), "what was taken was answered, and no more");
}

#[tokio::test]
async fn an_idle_stream_does_not_hold_up_a_stop() {
    let mut node = TestNode::start().await;
    let mut stream = Stream::open(&mut node).await;
    stream.send(1, values(&["a"])).await;
    stream.answer().await.1.unwrap();
    let stopping = tokio::spawn(node.node.shutdown());
    refused(within(stream.answers.next()).await.expect("an end with a reason"), Reason::ShuttingDown);
    within(stopping).await.unwrap().unwrap();
}

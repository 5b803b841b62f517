//! `log.v1.Log`, as the clients of the book use it.

use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use varve_api::error::Reason;
use varve_api::log_v1;

use crate::support::{TestNode, refused, values, within};

fn record(value: &str) -> log_v1::ProduceRequest {
    let record = log_v1::Record { value: value.as_bytes().to_vec().into(), ..Default::default() };
    log_v1::ProduceRequest { record: Some(record) }
}

fn at(offset: u64) -> log_v1::ConsumeRequest {
    log_v1::ConsumeRequest { offset }
}

#[tokio::test]
async fn what_is_produced_is_consumed() {
    let mut node = TestNode::start().await;
    assert_eq!(node.book.produce(record("hello")).await.unwrap().into_inner().offset, 0);
    assert_eq!(node.book.produce(record("world")).await.unwrap().into_inner().offset, 1);
    let read = node.book.consume(at(1)).await.unwrap().into_inner().record.unwrap();
    assert_eq!((&read.value[..], read.offset, read.r#type), (&b"world"[..], 1, 0));
    assert!(read.term > 0);
}

#[tokio::test]
async fn past_the_end_is_out_of_range() {
    let mut node = TestNode::start().await;
    refused(node.book.consume(at(0)).await, Reason::OffsetBeyondTail);
    node.book.produce(record("hello")).await.unwrap();
    for offset in [1, 2, u64::MAX] {
        let error = node.book.consume(at(offset)).await.unwrap_err();
        assert_eq!(error.code(), Code::OutOfRange);
        refused::<()>(Err(error), Reason::OffsetBeyondTail);
    }
}

#[tokio::test]
async fn streams_go_on_beyond_what_is_there() {
    let mut node = TestNode::start().await;
    let mut stream = node.book.consume_stream(at(0)).await.unwrap().into_inner();
    let mut ahead = node.book.consume_stream(at(2)).await.unwrap().into_inner();

    let (requests, queue) = tokio::sync::mpsc::channel(4);
    let mut answers = node.book.produce_stream(ReceiverStream::new(queue)).await.unwrap().into_inner();
    for (offset, value) in ["first", "second", "third"].into_iter().enumerate() {
        requests.send(record(value)).await.unwrap();
        assert_eq!(within(answers.message()).await.unwrap().unwrap().offset, offset as u64);
        let read = within(stream.message()).await.unwrap().unwrap().record.unwrap();
        assert_eq!((&read.value[..], read.offset), (value.as_bytes(), offset as u64));
    }
    let read = within(ahead.message()).await.unwrap().unwrap().record.unwrap();
    assert_eq!((&read.value[..], read.offset), (&b"third"[..], 2));
    drop(requests);
    assert!(within(answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_error_ends_a_produce_stream() {
    let mut node = TestNode::start().await;
    let requests = [record("good"), record(&"x".repeat(2 << 20)), record("late")];
    let stream = node.book.produce_stream(futures::stream::iter(requests)).await.unwrap();
    let mut answers = stream.into_inner();
    assert_eq!(within(answers.message()).await.unwrap().unwrap().offset, 0);
    refused(within(answers.message()).await, Reason::RecordTooLarge);
}

#[tokio::test]
async fn it_is_about_the_topic_default() {
    let mut node = TestNode::start().await;
    node.book.produce(record("hello")).await.unwrap();
    let request = varve_api::v1::ProduceRequest { topic: "default".to_owned(), ..values(&["more"]) };
    assert_eq!(node.log.produce(request).await.unwrap().into_inner().first_offset, Some(1));
    let read = node.book.consume(at(1)).await.unwrap().into_inner().record.unwrap();
    assert_eq!(&read.value[..], b"more");
}

#[tokio::test]
async fn the_servers_are_listed() {
    let mut node = TestNode::start().await;
    let servers = node.book.get_servers(log_v1::GetServersRequest {}).await.unwrap().into_inner().servers;
    assert_eq!((servers.len(), servers[0].is_leader), (1, true));
    assert_eq!(servers[0].rpc_addr, node.node.rpc_addr().to_string());
}

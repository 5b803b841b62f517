//! Single calls: which server they go to, when they are made again, and when not.

use std::time::Duration;

use varve_api::error::{ApiError, Reason};
use varve_api::time::duration_to_proto;
use varve_api::v1;
use varve_api::v1::read_from::Start;
use varve_client::{Client, ClientError, ProducerRecord};

use crate::fake::{FakeCluster, TOPIC};
use crate::faults::ProduceFault;
use crate::{connect, impatient, within};

fn create(name: &str) -> v1::CreateTopicRequest {
    v1::CreateTopicRequest { name: name.into(), ..Default::default() }
}

fn fail(reason: Reason) -> ProduceFault {
    ProduceFault::Fail(ApiError::new(reason, "told to"))
}

#[tokio::test]
async fn any_member_that_answers_is_enough() {
    within(async {
        let mut cluster = FakeCluster::start(3, 1).await;
        cluster.kill(0).await;
        let address = format!("varve://{},{}", cluster.addrs[0], cluster.addrs[1]);
        let client = impatient().connect(&address).await.expect("one of them is up");
        assert_eq!(client.servers().await.expect("one of them is up").servers.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn nobody_there_is_told_in_time() {
    within(async {
        let mut cluster = FakeCluster::start(1, 1).await;
        cluster.kill(0).await;
        let error = impatient().connect(&cluster.address()).await.expect_err("nobody is there");
        assert_eq!(error.reason(), Some(Reason::Unreachable), "{error}");
        assert!(!error.may_have_happened());
        assert!(error.to_string().contains(&cluster.addrs[0].to_string()), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_told_in_time() {
    within(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let error = impatient().connect(&address).await.expect_err("it says nothing");
        assert_eq!(error.reason(), Some(Reason::Deadline), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_bad_address_is_refused() {
    let error = Client::connect("https://a:1").await.expect_err("it is no address of ours");
    assert!(matches!(error, ClientError::Address(_)));
}

#[tokio::test]
async fn a_change_that_did_not_happen_is_made_again() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.state().produce_faults = vec![fail(Reason::NoLeader), fail(Reason::Overloaded)].into();
        let topic = connect(&cluster).await.create_topic(create("new")).await.expect("the third works");
        assert_eq!(topic.name, "new");
        assert_eq!(cluster.state().calls["create_topic"], 3);
    })
    .await;
}

#[tokio::test]
async fn a_change_that_may_have_happened_is_not_made_again() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.state().produce_faults = vec![fail(Reason::CommitUnknown)].into();
        let error = connect(&cluster).await.create_topic(create("new")).await.expect_err("it is not known");
        assert!(error.may_have_happened());
        assert_eq!(cluster.state().calls["create_topic"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_call_to_the_leader_finds_it() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        assert_eq!(client.trim_topic(TOPIC, 0, 0).await.expect("the leader answers"), 0);
        cluster.lead(0, Some(1));
        assert_eq!(client.trim_topic(TOPIC, 0, 7).await.expect("the new leader answers"), 7);
    })
    .await;
}

#[tokio::test]
async fn a_single_append_tells_what_went_wrong() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = connect(&cluster).await;
        let request =
            v1::ProduceRequest { topic: TOPIC.into(), expected_offset: Some(7), ..Default::default() };
        cluster.state().produce_faults = vec![fail(Reason::ExpectedOffsetMismatch)].into();
        let error = client.produce(request.clone()).await.expect_err("told to");
        assert_eq!(error.reason(), Some(Reason::ExpectedOffsetMismatch));
        cluster.state().produce_faults = vec![fail(Reason::ConnectionLost)].into();
        let error = client.produce(request.clone()).await.expect_err("told to");
        assert!(error.may_have_happened());
        assert_eq!(client.produce(request).await.expect("it works").first_offset, Some(0));
        assert_eq!(cluster.state().calls["produce"], 3);
    })
    .await;
}

#[tokio::test]
async fn a_read_may_wait_for_longer_than_another_call_may_take() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = impatient().connect(&cluster.address()).await.expect("it is up");
        let max_wait = Some(duration_to_proto(Duration::from_millis(400)));
        let read = v1::ConsumeRequest { topic: TOPIC.into(), max_wait, ..Default::default() };
        client.consume(read).await.expect("it waits, and gives nothing");
        assert_eq!(cluster.state().calls["consume"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_read_beyond_the_end_is_decided_by_the_leader() {
    within(async {
        let cluster = FakeCluster::start(3, 1).await;
        let client = connect(&cluster).await;
        let producer = client.producer(TOPIC).build().await.expect("the topic is there");
        producer.send(ProducerRecord::new("x")).await.expect("it is taken").await.expect("it is delivered");
        cluster.know_until(1, Some(0));
        cluster.know_until(2, Some(0));
        let from = |offset| {
            let from = Some(v1::ReadFrom { start: Some(Start::Offset(offset)), clamp: false });
            client.consume(v1::ConsumeRequest { topic: TOPIC.into(), from, ..Default::default() })
        };
        assert_eq!(from(1).await.expect("the leader has it").next_offset, 1);
        let error = from(2).await.expect_err("nobody has it");
        assert_eq!(error.reason(), Some(Reason::OffsetBeyondTail));
    })
    .await;
}

#[tokio::test]
async fn lists_every_page_of_topics() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let topics = connect(&cluster).await.list_topics().await.expect("it works");
        let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["topic-0", "topic-1", "topic-2"]);
    })
    .await;
}

#[tokio::test]
async fn asks_for_the_health_of_a_service() {
    within(async {
        let cluster = FakeCluster::start(1, 1).await;
        let client = connect(&cluster).await;
        assert!(client.is_serving("").await.expect("it answers"));
        assert!(!client.is_serving("varve.v1.LogService").await.expect("it answers"));
    })
    .await;
}

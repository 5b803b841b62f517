//! Health and reflection.

use futures::StreamExt;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use varve_api::{headers, v1};

use crate::support::{TOPIC, TestNode, connect, within};
use crate::test_cluster::TestCluster;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn the_node_says_that_it_is_alive_and_ready() {
    let node = TestNode::start().await;
    let mut health = HealthClient::new(connect(&node.node).await);
    let services =
        ["varve.v1.LogService", "varve.v1.ClusterService", "log.v1.Log", "varve.produce", "varve.replicas"];
    for service in services.into_iter().chain([""]) {
        let status = health.check(of(service)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(of("nobody")).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn those_who_watch_hear_of_a_stop() {
    let node = TestNode::start().await;
    let mut health = HealthClient::new(connect(&node.node).await);
    let mut watch = health.watch(of("varve.v1.LogService")).await.unwrap().into_inner();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let stopping = tokio::spawn(node.node.shutdown());
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    within(stopping).await.unwrap().unwrap();
    // A watch does not hold up the stop: it ends.
    drop(within(watch.next()).await);
}

#[tokio::test]
async fn a_node_whose_disk_failed_is_alive_but_not_ready() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let mut health = HealthClient::new(connect(&node.node).await);
    let mut watch = health.watch(of("varve.v1.LogService")).await.unwrap().into_inner();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    node.disk.fail_from(varve_env::disk::OpKind::Sync, 0, std::io::ErrorKind::Other);
    within(node.log.produce(crate::support::values(&["b"]))).await.unwrap_err();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_is_ready_once_it_has_what_was_committed_meanwhile() {
    let mut cluster = TestCluster::start(3).await;
    cluster.create(3).await;
    cluster.stop(3).await;
    let large = "x".repeat(100_000);
    let mut committed = 0;
    for _ in 0..100 {
        committed = cluster.produce(1, &large).await + 1;
    }
    cluster.join(3).await;
    let member = cluster.member(3);
    let mut health = HealthClient::new(connect(&member.node).await);
    let mut watch = health.watch(of("varve.v1.LogService")).await.unwrap().into_inner();
    while within(watch.message()).await.unwrap().unwrap().status() != ServingStatus::Serving {}
    // As it knows it itself.
    let mut request =
        Request::new(v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing: false });
    request.metadata_mut().insert(headers::FORWARD, headers::FORWARD_NEVER.parse().unwrap());
    let topic =
        within(member.cluster.clone().describe_topic(request)).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(topic.partitions[0].seen_by, Some(member.id()));
    assert_eq!(topic.partitions[0].high_watermark, Some(committed));
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let node = TestNode::start().await;
    let mut reflection = ServerReflectionClient::new(connect(&node.node).await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(futures::stream::iter([list])).await.unwrap().into_inner();
    let answer = within(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "log.v1.Log",
        "varve.v1.ClusterService",
        "varve.v1.DebugService",
        "varve.v1.LogService",
    ];
    assert_eq!(names, expected);
}

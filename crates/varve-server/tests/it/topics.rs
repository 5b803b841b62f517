//! ClusterService.

use varve_api::error::Reason;
use varve_api::v1;

use crate::support::{TOPIC, TestNode, config, consume_from, refused, stream_from, values, within};

async fn describe(node: &mut TestNode, name: &str) -> v1::Topic {
    let request = v1::DescribeTopicRequest { name: name.to_owned(), create_missing: false };
    node.cluster.describe_topic(request).await.unwrap().into_inner().topic.unwrap()
}

#[tokio::test]
async fn the_server_names_itself() {
    let mut node = TestNode::start().await;
    let answer = node.cluster.get_servers(v1::GetServersRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.cluster_id, node.node.identity().cluster_id);
    let server = &answer.servers[0];
    assert_eq!((server.id, server.name.as_str(), server.is_leader), (1, "node-1", true));
    assert_eq!(server.rpc_addr, node.node.rpc_addr().to_string());
}

#[tokio::test]
async fn a_topic_is_made_described_altered_and_deleted() {
    let mut node = TestNode::start().await;
    let settings = v1::TopicSettings { retention_ms: Some(60_000), ..Default::default() };
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: 2,
        replication_factor: 3,
        settings: Some(settings),
    };
    let made = node.cluster.create_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(made, describe(&mut node, TOPIC).await);
    assert_eq!((made.name.as_str(), made.replication_factor, made.settings), (TOPIC, 3, Some(settings)));
    let numbers: Vec<_> = made.partitions.iter().map(|partition| partition.partition).collect();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(made.partitions[0].leader, Some(1));
    assert_eq!((made.partitions[0].log_start_offset, made.partitions[0].high_watermark), (Some(0), Some(0)));

    node.produce("a").await;
    let change = v1::TopicSettings { retention_bytes: Some(1_000_000), ..Default::default() };
    let request =
        v1::AlterTopicRequest { name: TOPIC.to_owned(), settings: Some(change), partitions: Some(3) };
    let altered = node.cluster.alter_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(altered.partitions.len(), 3);
    let both = v1::TopicSettings { retention_bytes: Some(1_000_000), ..settings };
    assert_eq!(altered.settings, Some(both));
    assert_eq!(altered.partitions[0].high_watermark, Some(1), "what was there is there");
    let request = v1::ProduceRequest { partition: Some(2), ..values(&["b"]) };
    assert_eq!(node.log.produce(request).await.unwrap().into_inner().first_offset, Some(0));

    let request = v1::DeleteTopicRequest { name: TOPIC.to_owned() };
    node.cluster.delete_topic(request).await.unwrap();
    refused(node.log.consume(consume_from(0)).await, Reason::TopicNotFound);
    assert_eq!(node.produce("again").await, 0, "a topic of the same name begins anew");
    assert_eq!(node.all_values().await, ["again"]);
}

#[tokio::test]
async fn deleting_a_topic_ends_those_who_follow_it() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let mut stream = node.log.consume_stream(stream_from(1)).await.unwrap().into_inner();
    let request = v1::DeleteTopicRequest { name: TOPIC.to_owned() };
    node.cluster.delete_topic(request).await.unwrap();
    refused(within(stream.message()).await, Reason::TopicNotFound);
}

#[tokio::test]
async fn topics_are_listed_page_by_page() {
    let mut node = TestNode::start().await;
    for name in ["b", "a", "d", "c", "e"] {
        node.create_topic(name, 1).await;
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTopicsRequest { page_size: 2, page_token };
        let page = node.cluster.list_topics(request).await.unwrap().into_inner();
        assert!(page.topics.len() <= 2 && page.topics.iter().all(|topic| topic.partitions == 1));
        names.extend(page.topics.into_iter().map(|topic| topic.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_description_makes_the_topic_if_asked_to() {
    let mut node = TestNode::start().await;
    let ask = |create_missing| v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing };
    refused(node.cluster.describe_topic(ask(false)).await, Reason::TopicNotFound);
    let topic = node.cluster.describe_topic(ask(true)).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(topic.partitions.len(), 1);
}

#[tokio::test]
async fn a_trim_moves_the_start_and_never_back() {
    let mut node = TestNode::start().await;
    node.log.produce(values(&["a", "b", "c"])).await.unwrap();
    let trim = |before_offset| v1::TrimTopicRequest { topic: TOPIC.to_owned(), partition: 0, before_offset };
    assert_eq!(node.cluster.trim_topic(trim(2)).await.unwrap().into_inner().log_start_offset, 2);
    assert_eq!(node.cluster.trim_topic(trim(1)).await.unwrap().into_inner().log_start_offset, 2);
    assert_eq!(node.all_values().await, ["c"]);
    assert_eq!(node.produce("d").await, 3, "offsets go on");
    let mut node = node.restart(config()).await;
    assert_eq!(node.all_values().await, ["c", "d"]);
}

#[tokio::test]
async fn retention_trims_what_is_over_the_bound() {
    let mut settings = config();
    settings.segment_bytes = 64 * 1024;
    settings.retention_bytes = Some(128 * 1024);
    settings.retention_interval = std::time::Duration::from_millis(1);
    let mut node = TestNode::start_with(varve_env::disk::FaultyDisk::new(1), settings).await;
    let value = "x".repeat(10_000);
    for _ in 0..50 {
        node.produce(&value).await;
    }
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while describe(&mut node, TOPIC).await.partitions[0].log_start_offset == Some(0) {
        assert!(tokio::time::Instant::now() < deadline, "nothing was trimmed");
        tokio::task::yield_now().await;
    }
    refused(node.log.consume(consume_from(0)).await, Reason::OffsetTrimmed);
    let kept = node.all_values().await.len();
    assert!((5..50).contains(&kept), "{kept} records are kept");
}

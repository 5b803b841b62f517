//! Starting, stopping, and what lies between.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use varve_api::error::Reason;
use varve_api::v1;
use varve_env::Env;
use varve_env::disk::{CrashMode, Disk, FaultyDisk, OpKind};
use varve_record::Compression;
use varve_server::{ConfigError, Node, NodeConfig, StartError};

use crate::support::{
    SOON, TOPIC, TestNode, batch, config, data_dir, encoded, env_on, refused, values, within,
};

#[tokio::test]
async fn an_empty_directory_needs_to_be_told() {
    let disk = FaultyDisk::new(1);
    let mut unsaid = config();
    unsaid.bootstrap = false;
    let error = Node::start(env_on(&disk), unsaid.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::NotBootstrapped { .. }), "{error}");
    assert!(error.to_string().contains("bootstrap"), "{error}");

    let node = TestNode::start_with(disk, config()).await;
    let first = node.node.identity().clone();
    // Afterwards it makes no difference.
    let node = node.restart(unsaid).await;
    assert_eq!(node.node.identity(), &first);
    let node = node.restart(config()).await;
    assert_eq!(node.node.identity(), &first);
}

#[tokio::test]
async fn two_clusters_are_never_the_same() {
    let (one, other) = (TestNode::start().await, TestNode::start().await);
    assert_ne!(one.node.identity().cluster_id, other.node.identity().cluster_id);
}

#[tokio::test]
async fn the_clear_is_kept_to_loopback() {
    let mut open = config();
    open.rpc_addr = "0.0.0.0:0".parse().unwrap();
    let error = Node::start(env_on(&FaultyDisk::new(1)), open.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::BeyondLoopback { .. })), "{error}");
    open.insecure_serve_beyond_loopback = true;
    let error = Node::start(env_on(&FaultyDisk::new(1)), open.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::NoAddress { .. })), "{error}");
    open.advertise_addr = Some("127.0.0.1:8400".to_owned());
    let node = Node::start(env_on(&FaultyDisk::new(1)), open).await.unwrap();
    within(node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let node = TestNode::start().await;
    let mut taken = config();
    taken.rpc_addr = node.node.rpc_addr();
    let error = Node::start(env_on(&FaultyDisk::new(2)), taken).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let node = TestNode::start().await;
    let error = Node::start(env_on(&node.disk), config()).await.unwrap_err();
    assert!(matches!(error, StartError::Storage(varve_storage::OpenError::Locked { .. })), "{error}");
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut node = TestNode::start().await;
    node.create_topic("three", 3).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        for place in 0..20 {
            let value = format!("{round}-{place}");
            node.produce(&value).await;
            expected.push(value);
        }
        node = node.restart(config()).await;
        assert_eq!(node.all_values().await, expected);
    }
    let request = v1::DescribeTopicRequest { name: "three".to_owned(), create_missing: false };
    let three = node.cluster.describe_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(three.partitions.len(), 3);
}

#[tokio::test]
async fn a_crash_loses_nothing_acknowledged() {
    for mode in [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly] {
        let mut node = TestNode::start().await;
        let mut acknowledged = Vec::new();
        for round in 0..5 {
            for place in 0..10 {
                let value = format!("{round}-{place}");
                node.produce(&value).await;
                acknowledged.push(value);
            }
            // And some of which nobody says what becomes of them.
            for _ in 0..5 {
                let request = v1::ProduceRequest { acks: v1::Acks::None.into(), ..values(&["maybe"]) };
                node.log.produce(request).await.unwrap();
            }
            node = node.crash(mode, config()).await;
            let found: Vec<_> =
                node.all_values().await.into_iter().filter(|value| value != "maybe").collect();
            assert_eq!(found, acknowledged, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn what_a_deletion_left_behind_is_removed_by_the_next_start() {
    let mut node = TestNode::start().await;
    node.produce("gone").await;
    let files_of = |node: &TestNode, partition: &str| {
        let dir = data_dir().join("partitions").join(partition);
        node.disk.files().iter().filter(|file| file.starts_with(&dir)).count()
    };
    assert!(files_of(&node, "0000000001") > 0);
    for kind in [OpKind::Remove, OpKind::Rename] {
        node.disk.fail_from(kind, 0, std::io::ErrorKind::PermissionDenied);
    }
    let request = v1::DeleteTopicRequest { name: TOPIC.to_owned() };
    node.cluster.delete_topic(request).await.unwrap();
    assert!(files_of(&node, "0000000001") > 0);

    let node = node.crash(CrashMode::SyncedOnly, config()).await;
    assert_eq!(files_of(&node, "0000000001"), 0);
    assert!(files_of(&node, "0000000000") > 0, "the metadata stay");
}

#[tokio::test]
async fn a_real_disk_and_a_real_directory_do_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = NodeConfig { data_dir: dir.path().join("data"), ..config() };
    for round in 0..2_u64 {
        let node = Node::start(Env::real(), settings.clone()).await.unwrap();
        let channel = crate::support::connect(&node).await;
        let mut log = varve_api::v1::log_service_client::LogServiceClient::new(channel);
        let sent = encoded(&batch(&[b"a", b"b"], Compression::Lz4));
        let ack = log.produce(sent).await.unwrap().into_inner();
        assert_eq!(ack.first_offset, Some(2 * round));
        within(node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_but_not_for_ever() {
    let mut settings = config();
    settings.drain_timeout = std::time::Duration::from_millis(100);
    let node = TestNode::start_with(FaultyDisk::new(1), settings).await;
    // One that has opened a connection and says no more.
    let mut stuck = TcpStream::connect(node.node.rpc_addr()).await.unwrap();
    stuck.write_all(varve_net_preface()).await.unwrap();
    stuck.read_u8().await.unwrap();
    within(node.node.shutdown()).await.unwrap();
    let mut rest = Vec::new();
    drop(tokio::time::timeout(SOON, stuck.read_to_end(&mut rest)).await.expect("it is closed"));
}

fn varve_net_preface() -> &'static [u8] {
    // The preface, and an empty settings frame.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
}

#[tokio::test]
async fn other_protocols_on_the_port_are_answered_shortly() {
    let mut node = TestNode::start().await;
    let mut http = TcpStream::connect(node.node.rpc_addr()).await.unwrap();
    http.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(http.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/livez"), "{answer}");

    // Whoever speaks TLS to it is told in the clear, which every library of TLS takes for no TLS.
    for (other, answer) in [(&b"\x01peer"[..], &b""[..]), (b"\x16\x03\x01\x02\x00\x01", b"HTTP/1.1 400 ")] {
        let mut stream = TcpStream::connect(node.node.rpc_addr()).await.unwrap();
        stream.write_all(other).await.unwrap();
        let mut rest = Vec::new();
        drop(within(stream.read_to_end(&mut rest)).await);
        assert_eq!(rest.get(..answer.len()), Some(answer));
        assert!(!answer.is_empty() || rest.is_empty(), "{rest:?}");
    }
    assert_eq!(node.produce("still here").await, 0);
}

#[tokio::test]
async fn a_partition_that_cannot_be_opened_stops_nobody_else() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let other = v1::ProduceRequest { topic: "other".to_owned(), ..values(&["b"]) };
    node.log.produce(other.clone()).await.unwrap();
    let TestNode { node: running, disk, .. } = node;
    within(running.shutdown()).await.unwrap();
    let victim = disk
        .files()
        .into_iter()
        .find(|path| {
            path.to_str().unwrap().contains("partitions/0000000001/")
                && path.extension().is_some_and(|e| e == "log")
        })
        .expect("the first topic's segment");
    // The header of its only segment.
    disk.flip(&victim, 20, 0xff).unwrap();
    let mut node = TestNode::start_with(disk, config()).await;
    assert_eq!(node.log.produce(other).await.unwrap().into_inner().first_offset, Some(1));
    refused(within(node.log.produce(values(&["c"]))).await, Reason::DataLoss);
    let request = v1::DescribeTopicRequest { name: TOPIC.to_owned(), create_missing: false };
    node.cluster.describe_topic(request).await.unwrap();
    // Nobody can say how fresh it is.
    let consistency = v1::ReadConsistency::Linearizable.into();
    let request = v1::GetTailRequest { topic: TOPIC.to_owned(), consistency, ..Default::default() };
    refused(node.log.get_tail(request).await, Reason::NoLeader);
}

#[tokio::test]
async fn numbers_are_not_given_out_again_where_the_metadata_are_gone() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let TestNode { node: running, disk, .. } = node;
    within(running.shutdown()).await.unwrap();
    disk.remove_dir_all(&data_dir().join("partitions").join("0000000000")).unwrap();
    let error = Node::start(env_on(&disk), config()).await.unwrap_err();
    assert!(matches!(error, StartError::MetadataMissing { partitions: 1 }), "{error}");
}

#[tokio::test]
async fn an_empty_node_is_not_made_of_one_that_has_lost_all_its_partitions() {
    let mut node = TestNode::start().await;
    node.produce("a").await;
    let TestNode { node: running, disk, .. } = node;
    within(running.shutdown()).await.unwrap();
    disk.remove_dir_all(&data_dir().join("partitions")).unwrap();
    let error = Node::start(env_on(&disk), config()).await.unwrap_err();
    assert!(matches!(error, StartError::MetadataMissing { partitions: 0 }), "{error}");
}

#[tokio::test]
async fn clocks_that_go_back_do_no_harm() {
    let clock = Arc::new(varve_env::ManualClock::new(1_700_000_000_000));
    let disk = FaultyDisk::new(1);
    let env = Env { clock: Arc::clone(&clock) as _, ..env_on(&disk) };
    let node = Node::start(env, config()).await.unwrap();
    let mut log =
        varve_api::v1::log_service_client::LogServiceClient::new(crate::support::connect(&node).await);
    let first = log.produce(values(&["a"])).await.unwrap().into_inner().append_time.unwrap();
    clock.set(5);
    let second = log.produce(values(&["b"])).await.unwrap().into_inner().append_time.unwrap();
    assert!((second.seconds, second.nanos) >= (first.seconds, first.nanos), "append times never go back");
    within(node.shutdown()).await.unwrap();
}

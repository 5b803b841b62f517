//! More than a node can do, or than a client takes. Memory stays bounded, others go on, and who is refused is told when to try
//! again.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use varve_client::api::error::{ApiError, Reason};
use varve_client::api::v1;
use varve_client::api::v1::log_service_client::LogServiceClient;

use super::fleet::Fleet;
use super::load::Load;
use super::{BETWEEN, TOPIC, big_log, judge, show_gap};

const MIB: u64 = 1024 * 1024;
/// Streams whose reader takes nothing.
const SLOW_CONSUMERS: usize = 200;
/// What a server may hold for them: what all may have read ahead, which tiny records make several times as large as they are
/// on the disk, and some small pieces each. Without a bound it is several large pieces each, and several times that.
const SLOW_CONSUMERS_BYTES_MAX: u64 = (3 * 64 + 200) * MIB;
/// Appends of a flood, a mebibyte each, that are under way at the same time.
const FLOOD: usize = 1500;
/// What a server may hold for them: what may be on its way, the batches that may be undecided, once as they came and once as
/// they lie in the log's cache, and what the connections have in their windows.
const FLOOD_BYTES_MAX: u64 = (128 + 2 * 256 + 4 * 32 + 128) * MIB;
/// Connections of a flood.
const CONNECTIONS: usize = 4;
/// What an append of a flood may be answered with.
const REFUSALS: [Reason; 5] =
    [Reason::Overloaded, Reason::CommitUnknown, Reason::NotLeader, Reason::NoLeader, Reason::Deadline];
/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What a leader may hold for a follower that takes nothing.
const SLOW_FOLLOWER_BYTES_MAX: u64 = 128 * MIB;

#[test]
fn consumers_that_take_nothing_hold_little() {
    let mut fleet = Fleet::with_topic(TOPIC);
    fill_topic(&fleet, "big");
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    let leader = fleet.leader_of("big");
    let before = fleet.memory_bytes(&leader);
    let addr = format!("http://{}", fleet.rpc_addr(&leader));
    let opened = load.runtime().block_on(async {
        let mut streams = Vec::new();
        for _ in 0..SLOW_CONSUMERS {
            // A window of its own each, so that it is filled.
            let channel = Endpoint::from_shared(addr.clone()).unwrap().connect().await.unwrap();
            let read =
                v1::ConsumeRequest { topic: "big".into(), from: Some(from_start()), ..Default::default() };
            let request = v1::ConsumeStreamRequest { read: Some(read), heartbeat_interval: None };
            streams.push(LogServiceClient::new(channel).consume_stream(request).await.unwrap());
        }
        streams
    });
    fleet.count_fault();
    let grown = settled_memory(&fleet, &leader).saturating_sub(before);
    eprintln!("{} consumers take nothing: {} MiB", opened.len(), grown / MIB);
    assert!(grown <= SLOW_CONSUMERS_BYTES_MAX, "{} MiB for {SLOW_CONSUMERS} slow consumers", grown / MIB);
    load.go_on_for(BETWEEN);
    drop(opened);
    judge(load, &fleet, 1, 2 * BETWEEN);
}

#[test]
fn a_flood_of_appends_is_refused_in_part_and_told_when_to_come_back() {
    let mut fleet = Fleet::with_topic(TOPIC);
    fleet.make_topic("flooded");
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    let leader = fleet.leader_of("flooded");
    let before = fleet.memory_bytes(&leader);
    let addr = format!("http://{}", fleet.rpc_addr(&leader));
    fleet.count_fault();
    let flood = load.runtime().spawn(async move {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(Endpoint::from_shared(addr.clone()).unwrap().connect().await.unwrap());
        }
        let value = bytes::Bytes::from(vec![7; MIB as usize - 1024]);
        let mut calls = JoinSet::new();
        for number in 0..FLOOD {
            let record = v1::ProduceRecord { value: Some(value.clone()), ..Default::default() };
            let request = v1::ProduceRequest {
                topic: "flooded".into(),
                partition: Some(0),
                records: vec![record],
                ..Default::default()
            };
            let mut server = LogServiceClient::new(channels[number % CONNECTIONS].clone());
            calls.spawn(async move { server.produce(request).await });
        }
        calls.join_all().await
    });
    let mut most = 0;
    while !flood.is_finished() {
        std::thread::sleep(LOOK_INTERVAL);
        most = most.max(fleet.memory_bytes(&leader));
    }
    let answers = load.runtime().block_on(flood).unwrap();
    let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count();
    let errors: Vec<ApiError> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(ApiError::from_status).collect();
    let grown = most.saturating_sub(before) / MIB;
    eprintln!(
        "of {FLOOD} appends {acknowledged} are acknowledged, {} are refused; {grown} MiB more",
        errors.len()
    );
    for error in &errors {
        // On a machine that is busy with the flood a leader may be taken for gone.
        assert!(REFUSALS.contains(&error.reason), "{error}");
        assert!(error.reason != Reason::Overloaded || error.retry_after.is_some(), "{error}");
    }
    assert!(errors.iter().any(|error| error.reason == Reason::Overloaded), "it was no flood");
    assert!(acknowledged > 0);
    assert!(grown <= FLOOD_BYTES_MAX / MIB, "{grown} MiB for a flood");
    load.go_on_for(BETWEEN);
    show_gap(&load, "a flood");
    judge(load, &fleet, 1, 2 * BETWEEN);
}

#[test]
fn a_follower_that_stands_still_holds_up_nobody_and_catches_up() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    for follower in fleet.followers_of(TOPIC) {
        let leader = fleet.leader_of(TOPIC);
        fleet.pause(&follower);
        let before = fleet.memory_bytes(&leader);
        load.go_on_for(4 * BETWEEN);
        let grown = fleet.memory_bytes(&leader).saturating_sub(before) / MIB;
        show_gap(&load, "a follower stands still");
        eprintln!("its leader holds {grown} MiB more");
        assert!(grown <= SLOW_FOLLOWER_BYTES_MAX / MIB, "{grown} MiB for a follower that stands still");
        fleet.resume(&follower);
        fleet.wait_until_healthy();
        load.go_on_for(BETWEEN);
    }
    judge(load, &fleet, 2, 11 * BETWEEN);
}

/// A topic with more in it than a stream may read ahead, in batches smaller than a piece.
fn fill_topic(fleet: &Fleet, topic: &str) {
    fleet.make_topic(topic);
    let file = fleet.path("big.log");
    std::fs::write(&file, big_log()).unwrap();
    let file = file.to_str().unwrap();
    fleet.run(&["produce", topic, "--batch-bytes", "48KiB", "-z", "none", file]).ok();
}

fn from_start() -> v1::ReadFrom {
    v1::ReadFrom { start: Some(v1::read_from::Start::Offset(0)), ..Default::default() }
}

/// What a node has in use once that does not grow any more.
fn settled_memory(fleet: &Fleet, name: &str) -> u64 {
    let (mut most, mut same) = (0, 0);
    while same < 20 {
        // What grows is seen between one look and the next, however fast that is.
        std::thread::sleep(2 * LOOK_INTERVAL);
        let now = fleet.memory_bytes(name);
        same = if now <= most + MIB { same + 1 } else { 0 };
        most = most.max(now);
    }
    most
}

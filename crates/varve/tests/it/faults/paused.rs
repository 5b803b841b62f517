//! A leader that stands still, and does not know.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use varve_check::{Outcome, Request};
use varve_client::api::error::ApiError;
use varve_client::api::v1;
use varve_client::api::v1::log_service_client::LogServiceClient;

use super::fleet::Fleet;
use super::load::{FREE_SESSION, Load, tail_read, text_of};
use super::recorder::Recorder;
use super::{BETWEEN, TOPIC, judge};
use crate::support::{DEADLINE, wait_until};

/// Reads, and as many appends, that a paused leader finds when it goes on.
const CALLS: u64 = 8;
/// How often it is paused.
const PAUSES: u32 = 2;
/// Values of appends that are not the load's.
const OWN_VALUES: u64 = 1 << 48;

#[test]
fn a_leader_that_stood_still_tells_nothing_that_is_not_so() {
    let mut fleet = Fleet::with_topic(TOPIC);
    let load = Load::start(&fleet, TOPIC);
    load.go_on_for(BETWEEN);
    for pause in 0..PAUSES {
        let leader = fleet.leader_of(TOPIC);
        let client = load.runtime().block_on(connect(&fleet.rpc_addr(&leader)));
        fleet.pause(&leader);
        // Asked of the one that stands still, while others go on without it.
        let before = calls(&load, &client, pause * 2);
        load.go_on_for(BETWEEN);
        wait_until("another leads", || fleet.leader_of(TOPIC) != leader);
        let after = calls(&load, &client, pause * 2 + 1);
        load.go_on_for(BETWEEN);
        fleet.resume(&leader);
        for call in before.into_iter().chain(after) {
            load.runtime().block_on(async { timeout(DEADLINE, call).await }).expect("an answer").unwrap();
        }
        fleet.wait_until_healthy();
    }
    judge(load, &fleet, PAUSES, (1 + 2 * u64::from(PAUSES)) * BETWEEN);
}

async fn connect(addr: &str) -> LogServiceClient<Channel> {
    let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
    LogServiceClient::new(channel)
}

/// Asks this server, and no other, for the end of the log and to append, several times at once. The answers are recorded.
fn calls(load: &Load, server: &LogServiceClient<Channel>, round: u32) -> Vec<JoinHandle<()>> {
    let numbers = (0..CALLS).map(|number| u64::from(round) * CALLS + number);
    let calls = numbers.flat_map(|number| {
        let read = read(server.clone(), load.recorder().clone(), FREE_SESSION + number);
        let append = append(server.clone(), load.recorder().clone(), OWN_VALUES + number);
        [load.runtime().spawn(read), load.runtime().spawn(append)]
    });
    calls.collect()
}

async fn read(mut server: LogServiceClient<Channel>, recorder: Arc<Recorder>, session: u64) {
    let op = recorder.begin(Request::Read { session, linearizable: true });
    let consistency = v1::ReadConsistency::Linearizable.into();
    let tail = server.get_tail(v1::GetTailRequest { topic: TOPIC.into(), partition: 0, consistency }).await;
    let outcome = tail.map(|tail| tail_read(tail.into_inner().high_watermark));
    recorder.end(op, outcome.unwrap_or(Outcome::Failed));
}

async fn append(mut server: LogServiceClient<Channel>, recorder: Arc<Recorder>, value: u64) {
    let op = recorder.begin(Request::Append { value });
    let record = v1::ProduceRecord { value: Some(text_of(value).into()), ..Default::default() };
    let request = v1::ProduceRequest {
        topic: TOPIC.into(),
        partition: Some(0),
        records: vec![record],
        leader_only: true,
        ..Default::default()
    };
    let outcome = match server.produce(request).await {
        Ok(appended) => Outcome::Appended { offset: appended.into_inner().first_offset.unwrap() },
        Err(status) => refusal(&status),
    };
    recorder.end(op, outcome);
}

fn refusal(status: &Status) -> Outcome {
    if ApiError::from_status(status).may_have_happened() { Outcome::Unknown } else { Outcome::Failed }
}

//! Calls to one server and no other, as a client makes them that does not know better.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use varve_check::{Outcome, Request};
use varve_client::api::error::ApiError;
use varve_client::api::v1;
use varve_client::api::v1::log_service_client::LogServiceClient;

use super::TOPIC;
use super::load::{FREE_SESSION, Load, tail_read, text_of};
use super::recorder::Recorder;
use crate::support::DEADLINE;

/// Values of appends that are not the load's.
const OWN_VALUES: u64 = 1 << 48;

/// The way to one server.
pub(super) type Server = LogServiceClient<Channel>;

/// Asks servers, and knows how much was asked of them so far.
pub(super) struct Direct<'a> {
    load: &'a Load,
    asked: u64,
}

/// Calls that are under way, or have ended.
pub(super) struct Calls(Vec<JoinHandle<bool>>);

impl<'a> Direct<'a> {
    pub(super) fn new(load: &'a Load) -> Self {
        Self { load, asked: 0 }
    }

    /// To a server that answers.
    pub(super) fn connect(&self, addr: &str) -> Server {
        self.load.runtime().block_on(connect(addr))
    }

    /// Asks a server for the end of the log as it is, and to append, so many times at once, and waits for each answer as long
    /// as this. The answers are recorded.
    pub(super) fn ask(&mut self, server: &Server, times: u64, patience: Duration) -> Calls {
        let numbers = self.asked..self.asked + times;
        self.asked = numbers.end;
        let runtime = self.load.runtime();
        let calls = numbers.flat_map(|number| {
            let recorder = || self.load.recorder().clone();
            let read = read(server.clone(), recorder(), FREE_SESSION + number, patience);
            let append = append(server.clone(), recorder(), OWN_VALUES + number, patience);
            [runtime.spawn(read), runtime.spawn(append)]
        });
        Calls(calls.collect())
    }

    /// Waits until all of these calls are answered, and tells how many were answered as they wished.
    pub(super) fn granted(&self, calls: Calls) -> usize {
        let answered = |call: JoinHandle<bool>| async move {
            timeout(DEADLINE, call).await.expect("an answer").unwrap()
        };
        let answers = calls.0.into_iter().map(|call| self.load.runtime().block_on(answered(call)));
        answers.filter(|granted| *granted).count()
    }
}

async fn connect(addr: &str) -> Server {
    let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
    LogServiceClient::new(channel)
}

async fn read(mut server: Server, recorder: Arc<Recorder>, session: u64, patience: Duration) -> bool {
    let op = recorder.begin(Request::Read { session, linearizable: true });
    let consistency = v1::ReadConsistency::Linearizable.into();
    let mut request =
        tonic::Request::new(v1::GetTailRequest { topic: TOPIC.into(), partition: 0, consistency });
    request.set_timeout(patience);
    let tail = server.get_tail(request).await;
    let granted = tail.is_ok();
    let outcome = tail.map(|tail| tail_read(tail.into_inner().high_watermark));
    recorder.end(op, outcome.unwrap_or(Outcome::Failed));
    granted
}

async fn append(mut server: Server, recorder: Arc<Recorder>, value: u64, patience: Duration) -> bool {
    let op = recorder.begin(Request::Append { value });
    let record = v1::ProduceRecord { value: Some(text_of(value).into()), ..Default::default() };
    let mut request = tonic::Request::new(v1::ProduceRequest {
        topic: TOPIC.into(),
        partition: Some(0),
        records: vec![record],
        leader_only: true,
        ..Default::default()
    });
    request.set_timeout(patience);
    let outcome = match server.produce(request).await {
        Ok(appended) => Outcome::Appended { offset: appended.into_inner().first_offset.unwrap() },
        Err(status) => refusal(&status),
    };
    let granted = matches!(outcome, Outcome::Appended { .. });
    recorder.end(op, outcome);
    granted
}

fn refusal(status: &Status) -> Outcome {
    if ApiError::from_status(status).may_have_happened() { Outcome::Unknown } else { Outcome::Failed }
}

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason};
use varve_api::limits::PRODUCER_BATCHES_MAX;
use varve_api::v1;
use varve_telemetry::TraceContext;

use super::window::Outgoing;

use super::Acks;
use crate::Client;
use crate::client::{Replica, Target, log_service};
use crate::connection::OutstandingCall;

/// How long a server may owe an answer before others are asked who leads now.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// How often they are asked.
const DOUBT_INTERVAL: Duration = Duration::from_millis(500);

/// A produce stream to one server, for one partition.
pub(crate) struct ProduceStream {
    client: Client,
    addr: Arc<str>,
    requests: mpsc::Sender<v1::ProduceStreamRequest>,
    answers: Streaming<v1::ProduceStreamResponse>,
    _outstanding: OutstandingCall,
    /// Comes when the server is said to be gone, or no longer to lead, which the connection may notice much later.
    left: BoxFuture<'static, ()>,
    waiting: Arc<Waiting>,
}

/// What all requests of a producer to a partition have in common.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) topic: TopicName,
    pub(crate) partition: u32,
    pub(crate) acks: Acks,
    /// Whether a batch may be sent again whatever became of it.
    pub(crate) idempotent: bool,
}

impl Template {
    fn request(&self, outgoing: Outgoing) -> v1::ProduceStreamRequest {
        let Outgoing { request_id, bytes, trace } = outgoing;
        let batch = v1::ProduceRequest {
            topic: self.topic.to_string(),
            partition: Some(self.partition),
            encoded_batch: bytes,
            traceparent: trace.map(TraceContext::to_traceparent).unwrap_or_default(),
            acks: v1::Acks::from(self.acks) as i32,
            leader_only: true,
            ..v1::ProduceRequest::default()
        };
        v1::ProduceStreamRequest { request_id, batch: Some(batch) }
    }
}

impl ProduceStream {
    /// Opens a stream that begins with some batches, so that a server which waits for a first one gets it.
    pub(crate) async fn open(
        client: &Client,
        addr: Arc<str>,
        template: &Template,
        first: Vec<Outgoing>,
        timeout: Duration,
    ) -> Result<Self, ApiError> {
        let owed = first.len();
        // No more batches than that are under way, so that a send into the channel never has to wait.
        let (requests, receiver) = mpsc::channel(PRODUCER_BATCHES_MAX);
        for outgoing in first {
            requests.try_send(template.request(outgoing)).map_err(|_| too_many())?;
        }
        let receiver = std::sync::Mutex::new(Some(receiver));
        let call = |connection| {
            let receiver = receiver.lock().ok().and_then(|mut receiver| receiver.take());
            async move {
                let receiver = receiver.ok_or_else(|| tonic::Status::internal("a stream is opened once"))?;
                log_service(connection).produce_stream(ReceiverStream::new(receiver)).await
            }
        };
        let waiting = Arc::new(Waiting::new(owed));
        // What is said may be wrong, so that nothing may be lost by believing it.
        let mut left: BoxFuture<'static, ()> = match template.idempotent {
            true => Box::pin(left(client.clone(), addr.clone(), template.clone(), waiting.clone())),
            false => Box::pin(pending()),
        };
        let (answers, outstanding) = tokio::select! {
            biased;
            opened = client.attempt(&addr, timeout, &call) => opened?,
            () = &mut left => return Err(has_left(&addr)),
        };
        let client = client.clone();
        Ok(Self { client, addr, requests, answers, _outstanding: outstanding, left, waiting })
    }

    /// Where it goes.
    pub(crate) fn addr(&self) -> &Arc<str> {
        &self.addr
    }

    /// Sends one more batch. If the stream has ended, [`ProduceStream::answer`] tells why.
    pub(crate) fn send(&self, template: &Template, outgoing: Outgoing) -> Result<(), ApiError> {
        use mpsc::error::TrySendError;
        self.waiting.begins();
        match self.requests.try_send(template.request(outgoing)) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(too_many()),
        }
    }

    /// The next answer. Safe to drop before it comes.
    ///
    /// # Errors
    /// If the stream broke, or the server ended it.
    pub(crate) async fn answer(&mut self) -> Result<v1::ProduceStreamResponse, ApiError> {
        let answer = tokio::select! {
            biased;
            answer = self.answers.message() => answer,
            () = &mut self.left => return Err(has_left(&self.addr)),
        };
        self.waiting.answered();
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(ended(&self.addr)),
            Err(status) => Err(self.client.failure(&self.addr, &status)),
        }
    }
}

impl fmt::Debug for ProduceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProduceStream").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// How many answers a stream's server owes, and since when it has given none.
#[derive(Debug)]
struct Waiting(Mutex<(usize, Instant)>);

impl Waiting {
    fn new(owed: usize) -> Self {
        Self(Mutex::new((owed, Instant::now())))
    }

    fn begins(&self) {
        let (owed, since) = &mut *self.lock();
        if *owed == 0 {
            *since = Instant::now();
        }
        *owed += 1;
    }

    fn answered(&self) {
        let (owed, since) = &mut *self.lock();
        *owed = owed.saturating_sub(1);
        *since = Instant::now();
    }

    fn is_long(&self) -> bool {
        let (owed, since) = *self.lock();
        owed > 0 && since.elapsed() >= DOUBT_AFTER
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a server is said to be gone, or gives no answers and is said not to lead any more.
async fn left(client: Client, addr: Arc<str>, template: Template, waiting: Arc<Waiting>) {
    let target = Target { topic: &template.topic, partition: template.partition, replica: Replica::Leader };
    let moved = async {
        loop {
            sleep(DOUBT_INTERVAL).await;
            if waiting.is_long() && client.is_led_elsewhere(target, &addr).await {
                return;
            }
        }
    };
    tokio::select! {
        () = client.gone(&addr) => {}
        () = moved => {}
    }
}

fn has_left(addr: &str) -> ApiError {
    ApiError::new(Reason::ConnectionLost, format!("{addr} is gone, or does not lead any more"))
}

fn ended(addr: &str) -> ApiError {
    ApiError::new(Reason::ConnectionLost, format!("{addr} ended the stream"))
}

fn too_many() -> ApiError {
    ApiError::new(Reason::Internal, "more batches are under way than may be; report this")
}

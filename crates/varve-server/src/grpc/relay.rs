//! Batches of a produce stream, handed on to the node that leads their partition.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_api::v1::produce_stream_response::Result as Outcome;
use varve_record::NodeId;

use super::Shared;
use super::route::{Away, Place, from_afar, moved};
use crate::cluster::Forwarder;
use crate::limits::STREAM_BATCHES_IN_FLIGHT_MAX;
use crate::security::Call;

/// What becomes of a batch that was handed on.
pub(crate) type Relayed = oneshot::Receiver<Result<v1::ProduceResponse, ApiError>>;

type Answer = oneshot::Sender<Result<v1::ProduceResponse, ApiError>>;

/// A produce stream to another node, as part of one that is served here. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    batches: mpsc::Sender<(v1::ProduceRequest, Answer)>,
}

impl Relay {
    pub(crate) fn open(forwarder: Forwarder, call: Call, away: Away) -> Self {
        let (batches, queue) = mpsc::channel(STREAM_BATCHES_IN_FLIGHT_MAX);
        drop(varve_env::spawn_task(run(forwarder, call, away, queue)));
        Self { batches }
    }

    /// Whether it takes no more batches: another has to be opened.
    pub(crate) fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    /// Hands a batch on.
    pub(crate) async fn send(&self, batch: v1::ProduceRequest) -> Relayed {
        let (answer, relayed) = oneshot::channel();
        // Where the stream has ended the answer is dropped, which says so.
        drop(self.batches.send((batch, answer)).await);
        relayed
    }
}

/// What became of a batch that was handed on to a node.
pub(crate) async fn settle(
    shared: &Shared,
    place: &Place,
    node: NodeId,
    relayed: Relayed,
) -> Result<v1::ProduceResponse, ApiError> {
    // It was not sent: nothing has happened.
    let never_sent = || ApiError::new(Reason::NotLeader, "the way to the leader has ended: try again");
    tokio::select! {
        biased;
        relayed = relayed => relayed.unwrap_or_else(|_| Err(never_sent())),
        () = shared.moved_from(place, node) => Err(moved(place, node)),
    }
}

async fn run(
    forwarder: Forwarder,
    call: Call,
    away: Away,
    mut queue: mpsc::Receiver<(v1::ProduceRequest, Answer)>,
) {
    let (requests, sent) = mpsc::channel(STREAM_BATCHES_IN_FLIGHT_MAX);
    let mut waiting = VecDeque::new();
    let error = match forwarder.log(&away.addr) {
        Err(error) => error,
        Ok(mut log) => {
            // The answer's headers may come only when the first batch is there.
            let opening = log.produce_stream(call.hand_on(ReceiverStream::new(sent)));
            match converse(opening, requests, &mut queue, &mut waiting, &away).await {
                Ok(()) => return,
                Err(error) => error,
            }
        }
    };
    queue.close();
    for (_, answer) in waiting {
        drop(Answer::send(answer, Err(error.clone())));
    }
    // Those in the queue were never sent: their answers are dropped with it.
}

type Waiting = VecDeque<(u64, Answer)>;

/// Sends batches and hands out their answers until nobody sends any more, or the stream fails.
async fn converse(
    opening: impl Future<Output = Result<tonic::Response<Streaming<v1::ProduceStreamResponse>>, tonic::Status>>,
    requests: mpsc::Sender<v1::ProduceStreamRequest>,
    queue: &mut mpsc::Receiver<(v1::ProduceRequest, Answer)>,
    waiting: &mut Waiting,
    away: &Away,
) -> Result<(), ApiError> {
    let mut opening = std::pin::pin!(opening);
    let mut answers: Option<Streaming<v1::ProduceStreamResponse>> = None;
    let mut requests = Some(requests);
    let mut last_id = 0;
    loop {
        if requests.is_none() && waiting.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            opened = &mut opening, if answers.is_none() => {
                answers = Some(opened.map_err(|status| from_afar(&status, away))?.into_inner());
            }
            answer = next(&mut answers), if answers.is_some() => {
                let answer = answer.map_err(|status| from_afar(&status, away))?;
                settle_first(answer, waiting)?;
            }
            batch = queue.recv(), if requests.is_some() && waiting.len() < STREAM_BATCHES_IN_FLIGHT_MAX => {
                let Some((batch, answer)) = batch else {
                    requests = None;
                    continue;
                };
                last_id += 1;
                waiting.push_back((last_id, answer));
                let request = v1::ProduceStreamRequest { request_id: last_id, batch: Some(batch) };
                if let Some(requests) = &requests && requests.send(request).await.is_err() {
                    return Err(ended());
                }
            }
        }
    }
}

async fn next(
    answers: &mut Option<Streaming<v1::ProduceStreamResponse>>,
) -> Result<Option<v1::ProduceStreamResponse>, tonic::Status> {
    match answers {
        Some(answers) => answers.message().await,
        None => std::future::pending().await,
    }
}

/// Hands out an answer. They come in the order of the batches.
fn settle_first(answer: Option<v1::ProduceStreamResponse>, waiting: &mut Waiting) -> Result<(), ApiError> {
    let Some(answer) = answer else { return Err(ended()) };
    let Some((id, waiter)) = waiting.pop_front() else { return Err(ended()) };
    let result = match answer.result {
        _ if answer.request_id != id => Err(ended()),
        Some(Outcome::Ack(ack)) => Ok(ack),
        Some(Outcome::Error(error)) => Err(error.into()),
        None => Err(ended()),
    };
    drop(waiter.send(result));
    Ok(())
}

fn ended() -> ApiError {
    ApiError::new(Reason::CommitUnknown, "the stream to the leader ended before its answer came")
}

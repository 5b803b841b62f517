//! Batches produced in a stream: taken without waiting for those before, answered in their order.
//!
//! Two tasks serve a stream. The reader checks batches and hands them to their partitions; the acknowledger waits for each
//! in turn. A batch's bytes count against the limits until it is decided, whether or not the client takes its answer; its
//! place among the unanswered ones is free when the client has taken the answer. The reader stops while either is used up,
//! and with it HTTP/2's flow control stops the client.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tonic::Status;
use varve_api::error::{ApiError, Reason};
use varve_api::v1;
use varve_record::{NodeId, PartitionId};
use varve_replica::Pending;

use super::Shared;
use super::in_flight::Admitted;
use super::intake::{BatchSize, Intake, Prepared};
use super::relay::{self, Relay, Relayed};
use super::route::{Away, Errand, Place, Route};
use crate::drain::Drain;
use crate::error::invalid;
use crate::limits::{DRAIN_PAUSE, DRAIN_READ_MAX, STREAM_BATCHES_IN_FLIGHT_MAX, STREAM_BYTES_IN_FLIGHT_MAX};
use crate::security::Call;
use crate::telemetry::Producing;
use crate::topics::Topic;

/// The call, as metrics name it.
const METHOD: &str = "varve.v1.LogService/ProduceStream";

/// Most partitions without a leader that a stream remembers.
const LEADERLESS_MAX: usize = 1024;

/// A batch of a stream, with the number that its sender gave it.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) request_id: u64,
    pub(crate) batch: v1::ProduceRequest,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request_id: u64,
    pub(crate) result: Result<v1::ProduceResponse, ApiError>,
    /// Whether the server will soon be gone.
    pub(crate) draining: bool,
}

/// Serves a stream of batches: an answer for each in order, then an error if the stream could not be served to its end.
pub(crate) fn serve<S>(
    shared: &Shared,
    batches: S,
    call: Call,
) -> impl Stream<Item = Result<Answer, ApiError>> + use<S>
where
    S: Stream<Item = Result<Numbered, Status>> + Send + 'static,
{
    let (waiting, queue) = mpsc::channel(STREAM_BATCHES_IN_FLIGHT_MAX);
    let (answered, mut answers) = mpsc::channel::<(Result<Answer, ApiError>, Option<OwnedSemaphorePermit>)>(
        STREAM_BATCHES_IN_FLIGHT_MAX + 1,
    );
    let reader = Reader {
        _open: shared.streams.produce(),
        shared: shared.clone(),
        intake: Intake::new(shared),
        call,
        relays: BTreeMap::new(),
        leaderless: BTreeSet::new(),
        places: Arc::new(Semaphore::new(STREAM_BATCHES_IN_FLIGHT_MAX)),
        stream_room: Arc::new(Semaphore::new(STREAM_BYTES_IN_FLIGHT_MAX)),
    };
    drop(varve_env::spawn_task(reader.run(batches, waiting)));
    drop(varve_env::spawn_task(acknowledge(queue, answered, shared.clone())));
    // The place is given back as the answer is taken.
    futures::stream::poll_fn(move |cx| answers.poll_recv(cx)).map(|(answer, _place)| answer)
}

/// A batch, or the end, in the order of the stream.
enum Waiting {
    Batch { request_id: u64, outcome: Outcome, held: Held },
    End(ApiError),
}

/// What is known of a batch when it was handed on.
enum Outcome {
    Pending(Place, Pending, BatchSize),
    /// It was handed on to the node that leads its partition.
    Relayed(Place, NodeId, Relayed),
    Refused(ApiError),
}

/// What a batch holds of the limits.
struct Held {
    /// Until its answer is taken.
    place: OwnedSemaphorePermit,
    /// Until it is decided.
    _bytes: Option<(OwnedSemaphorePermit, Admitted)>,
}

struct Reader {
    _open: Producing,
    shared: Shared,
    intake: Intake,
    /// Who sends them, and whether they may be handed on.
    call: Call,
    /// Streams to other nodes, by address.
    relays: BTreeMap<String, Relay>,
    /// Partitions that a batch has waited for a leader of, and in vain. Those that follow do not wait: they would hold up the
    /// batches of other partitions one after the other.
    leaderless: BTreeSet<PartitionId>,
    places: Arc<Semaphore>,
    stream_room: Arc<Semaphore>,
}

impl Reader {
    /// Takes batches until the client, the node or an error ends the stream, or nobody waits for answers any more.
    async fn run<S>(mut self, batches: S, waiting: mpsc::Sender<Waiting>)
    where
        S: Stream<Item = Result<Numbered, Status>> + Send,
    {
        let end = tokio::select! {
            biased;
            () = waiting.closed() => return,
            end = self.read(batches, &waiting) => end,
        };
        if let Err(error) = end {
            drop(waiting.send(Waiting::End(error)).await);
        }
    }

    async fn read<S>(&mut self, batches: S, waiting: &mpsc::Sender<Waiting>) -> Result<(), ApiError>
    where
        S: Stream<Item = Result<Numbered, Status>> + Send,
    {
        let mut batches = pin!(batches);
        let mut last_id = None;
        let mut draining_since = None;
        loop {
            let next = tokio::select! {
                biased;
                next = batches.next() => next,
                () = self.pause() => return Err(Drain::error()),
            };
            let Some(numbered) = next else { return Ok(()) };
            let Numbered { request_id, batch } = numbered?;
            if last_id.is_some_and(|last| request_id <= last) {
                return Err(invalid(
                    "request_id",
                    format!("{request_id} does not rise: it must within a stream"),
                ));
            }
            last_id = Some(request_id);
            if !self.take(request_id, batch, waiting).await {
                return Ok(());
            }
            if self.shared.drain.has_begun()
                && draining_since.get_or_insert_with(Instant::now).elapsed() > DRAIN_READ_MAX
            {
                return Err(Drain::error());
            }
        }
    }

    /// Checks one batch, hands it to its partition, and queues it to be answered; false if nobody waits for answers.
    async fn take(
        &mut self,
        request_id: u64,
        batch: v1::ProduceRequest,
        waiting: &mpsc::Sender<Waiting>,
    ) -> bool {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return false };
        let (outcome, bytes) = match self.hand_on(batch).await {
            Ok((outcome, bytes)) => (outcome, Some(bytes)),
            Err(error) => (Outcome::Refused(error), None),
        };
        let held = Held { place, _bytes: bytes };
        waiting.send(Waiting::Batch { request_id, outcome, held }).await.is_ok()
    }

    async fn hand_on(
        &mut self,
        batch: v1::ProduceRequest,
    ) -> Result<(Outcome, (OwnedSemaphorePermit, Admitted)), ApiError> {
        let prepared = self.intake.prepare(&self.call, batch).await?;
        let of_stream = Arc::clone(&self.stream_room).acquire_many_owned(prepared.bytes).await;
        let of_server = self.shared.room.admit(prepared.bytes, self.call.may_forward()).await;
        let (Ok(of_stream), Some(of_server)) = (of_stream, of_server) else { return Err(Drain::error()) };
        let Place { topic, number } = prepared.place.clone();
        let outcome = match self.leader_of(&topic, number).await? {
            Route::Here(partition) => {
                let Prepared { place, produce, .. } = prepared;
                let size = BatchSize::of(&produce.batch);
                let pending = place.enqueue(&partition, produce).await?;
                Outcome::Pending(place, pending, size)
            }
            Route::There(away) => {
                let (place, node) = (prepared.place.clone(), away.node);
                Outcome::Relayed(place, node, self.relay(away).send(prepared.into_request()).await)
            }
        };
        Ok((outcome, (of_stream, of_server)))
    }

    /// Waits for the leader of a partition, unless that was in vain before.
    async fn leader_of(&mut self, topic: &Topic, number: u32) -> Result<Route, ApiError> {
        let id = topic.slot(number)?.0;
        let errand = Errand::new(self.call.may_forward());
        let has_waited = self.leaderless.contains(&id);
        let errand = if has_waited { errand.that_has_waited() } else { errand };
        let route = self.shared.to_leader(topic, number, errand).await;
        if !matches!(&route, Err(error) if error.reason == Reason::NoLeader) {
            self.leaderless.remove(&id);
        } else if self.leaderless.len() < LEADERLESS_MAX {
            self.leaderless.insert(id);
        }
        route
    }

    /// The stream to another node: batches for the same one follow each other.
    fn relay(&mut self, away: Away) -> &Relay {
        self.relays.retain(|_, relay| !relay.is_closed());
        let (forwarder, call) = (&self.shared.forwarder, &self.call);
        let open = || Relay::open(forwarder.clone(), call.clone(), away.clone());
        self.relays.entry(away.addr.clone()).or_insert_with(open)
    }

    /// Returns once the node is draining and the client has been silent for a moment.
    async fn pause(&self) {
        self.shared.drain.begun().await;
        sleep(DRAIN_PAUSE).await;
    }
}

/// Answers batches in their order. It never waits for the client: there is room for the answer of every batch that has a
/// place.
async fn acknowledge(
    mut queue: mpsc::Receiver<Waiting>,
    answered: mpsc::Sender<(Result<Answer, ApiError>, Option<OwnedSemaphorePermit>)>,
    shared: Shared,
) {
    while let Some(waiting) = queue.recv().await {
        let (answer, place) = match waiting {
            Waiting::Batch { request_id, outcome, held } => {
                let since = Instant::now();
                let result = settle(&shared, outcome).await;
                shared.calls.took(
                    METHOD,
                    since.elapsed(),
                    format_args!("batch {request_id} of a stream"),
                    None,
                );
                if let Err(error) = &result {
                    shared.calls.batch_failed(METHOD, error);
                }
                let draining = shared.drain.has_begun();
                (Ok(Answer { request_id, result, draining }), Some(held.place))
            }
            Waiting::End(error) => (Err(error), None),
        };
        if answered.send((answer, place)).await.is_err() {
            return;
        }
    }
}

async fn settle(shared: &Shared, outcome: Outcome) -> Result<v1::ProduceResponse, ApiError> {
    match outcome {
        Outcome::Pending(place, pending, size) => place.wait(pending, size).await,
        Outcome::Relayed(place, node, relayed) => relay::settle(shared, &place, node, relayed).await,
        Outcome::Refused(error) => Err(error),
    }
}

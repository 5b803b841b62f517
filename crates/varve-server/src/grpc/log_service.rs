//! `varve.v1.LogService`.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use varve_api::error::ApiError;
use varve_api::limits::{
    CONSUME_BYTES_MAX, CONSUME_WAIT_MS_MAX, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, PRODUCER_NAME_BYTES_MAX,
};
use varve_api::prost_types;
use varve_api::time::duration_from_proto;
use varve_api::v1;
use varve_api::v1::log_service_server::LogService;
use varve_authz::Action;
use varve_record::{Offset, Timestamp};
use varve_replica::Partition;

use super::Shared;
use super::convert::{consistency, status, to_wire_time};
use super::follow::{self, Event};
use super::intake::Intake;
use super::pipeline::{self, Answer, Numbered};
use super::route::{Away, Read, answered, from_afar_read};
use super::session::{BeyondTail, Session, within_freshness};
use crate::error::{invalid, read_error, timed_out};
use crate::limits::{AWAY_TIMEOUT, CHANGE_TIMEOUT};
use crate::security::Call;
use crate::topics::NamedError;

/// The data plane.
#[derive(Clone, Debug)]
pub(crate) struct LogApi {
    shared: Shared,
}

impl LogApi {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    async fn consume_one(
        &self,
        request: v1::ConsumeRequest,
        call: Call,
    ) -> Result<v1::ConsumeResponse, ApiError> {
        call.authorize(Action::Consume, &request.topic).await?;
        let max_wait = max_wait(request.max_wait.as_ref())?;
        let topic = self.shared.topics.get(&request.topic).await?;
        let (shared, asked, by) = (&self.shared, &request, &call);
        let ask = |away: Away| async move {
            let mut log = shared.forwarder.log(&away.addr)?;
            let there = by.hand_on_for(asked.clone(), max_wait + AWAY_TIMEOUT);
            answered(log.consume(there).boxed().await, &away)
        };
        let partition = match self.shared.read(&topic, request.partition, call.may_forward(), ask).await? {
            Read::Here(partition) => partition,
            Read::There(answer) => return Ok(answer),
        };
        let mut session = Session::open(&self.shared, topic, partition, request, BeyondTail::Refuse).await?;
        let piece = session.piece(CONSUME_BYTES_MAX).await?;
        if !piece.is_empty() || session.ended() || max_wait.is_zero() {
            return Ok(piece.into_response());
        }
        let waited = tokio::select! {
            biased;
            // Whoever waits is better told how things stand than refused.
            () = self.shared.drain.begun() => Ok(Ok(())),
            waited = tokio::time::timeout(max_wait, session.wait()) => waited,
        };
        match waited {
            Ok(more) => more?,
            Err(_) => return Ok(session.empty_piece().into_response()),
        }
        Ok(session.piece(CONSUME_BYTES_MAX).await?.into_response())
    }

    async fn consume_many(
        &self,
        request: v1::ConsumeStreamRequest,
        call: Call,
    ) -> Result<BoxStream<'static, Result<v1::ConsumeStreamResponse, Status>>, ApiError> {
        let name = request.read.as_ref().map(|read| read.topic.clone()).unwrap_or_default();
        call.authorize(Action::Consume, &name).await?;
        let heartbeat = heartbeat(request.heartbeat_interval.as_ref())?;
        let read = request.read.as_ref().ok_or_else(|| invalid("read", "say what to read"))?;
        let topic = self.shared.topics.get(&read.topic).await?;
        let (shared, asked, by) = (&self.shared, &request, &call);
        let ask = |away: Away| async move {
            let mut log = shared.forwarder.log(&away.addr)?;
            let answers = log.consume_stream(by.hand_on(asked.clone())).boxed().await;
            Ok((answered(answers, &away)?, away))
        };
        let partition = match self.shared.read(&topic, read.partition, call.may_forward(), ask).await? {
            Read::Here(partition) => partition,
            Read::There((answers, away)) => {
                let answers =
                    answers.map(move |answer| answer.map_err(|status| from_afar_read(&status, &away).into()));
                return Ok(call.while_allowed(Action::Consume, &name, answers).await);
            }
        };
        let read = request.read.unwrap_or_default();
        let session = Session::open(&self.shared, topic, partition, read, BeyondTail::Refuse).await?;
        let events = follow::stream(
            session,
            heartbeat,
            self.shared.drain.clone(),
            &self.shared.read_ahead,
            &self.shared.streams,
        );
        let shared = self.shared.clone();
        let responses =
            events.map(move |event| event.map(event_response).map_err(|error| shared.status(error)));
        Ok(call.while_allowed(Action::Consume, &name, responses).await)
    }

    async fn tail(&self, request: v1::GetTailRequest, call: Call) -> Result<v1::GetTailResponse, ApiError> {
        call.authorize(Action::Describe, &request.topic).await?;
        let topic = self.shared.topics.get(&request.topic).await?;
        let (shared, asked, by) = (&self.shared, &request, &call);
        let ask = |away: Away| async move {
            let mut log = shared.forwarder.log(&away.addr)?;
            let there = by.hand_on_for(asked.clone(), AWAY_TIMEOUT);
            answered(log.get_tail(there).boxed().await, &away)
        };
        let partition = match self.shared.read(&topic, request.partition, call.may_forward(), ask).await? {
            Read::Here(partition) => partition,
            Read::There(answer) => return Ok(answer),
        };
        let level = consistency(request.consistency)?;
        let explain = |error| topic.explain(read_error(error, topic.at(request.partition)));
        let barrier = async { partition.barrier(level).await.map_err(explain) };
        within_freshness(&topic, request.partition, barrier).await?;
        let progress = partition.progress();
        let last = progress.high_watermark.prev().filter(|last| *last >= progress.log_start_offset);
        let first = last.map(|_| progress.log_start_offset);
        Ok(v1::GetTailResponse {
            log_start_offset: progress.log_start_offset.get(),
            high_watermark: progress.high_watermark.get(),
            term: progress.term.get(),
            log_start_time: append_time(&partition, first).await.map(to_wire_time),
            last_append_time: append_time(&partition, last).await.map(to_wire_time),
        })
    }

    async fn identify(
        &self,
        request: v1::InitProducerRequest,
        call: Call,
    ) -> Result<v1::InitProducerResponse, ApiError> {
        if request.name.len() > PRODUCER_NAME_BYTES_MAX {
            return Err(invalid("name", format!("it has more than {PRODUCER_NAME_BYTES_MAX} bytes")));
        }
        let (ids, name) = (&self.shared.producer_ids, request.name.as_str());
        let identity = async {
            if name.is_empty() && !request.owner.is_empty() {
                return Err(invalid("owner", "a producer without a name belongs to nobody"));
            }
            if name.is_empty() {
                return ids.fresh().await;
            }
            let claim = call.claim(&request.owner).await?;
            ids.named(name, claim.as_ref()).await.map_err(|error| match error {
                NamedError::Owned => call.not_the_owner(name),
                NamedError::Failed(error) => error,
            })
        };
        let in_time = tokio::time::timeout(CHANGE_TIMEOUT, identity).await;
        let identity = in_time.unwrap_or_else(|_| Err(timed_out("the metadata", CHANGE_TIMEOUT)))?;
        Ok(v1::InitProducerResponse {
            producer_id: identity.id.get(),
            producer_epoch: identity.epoch.get().into(),
        })
    }
}

#[tonic::async_trait]
impl LogService for LogApi {
    type ProduceStreamStream = BoxStream<'static, Result<v1::ProduceStreamResponse, Status>>;
    type ConsumeStreamStream = BoxStream<'static, Result<v1::ConsumeStreamResponse, Status>>;

    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let call = Call::of(&request);
        let intake = Intake::new(&self.shared);
        let produced = intake.produce(&self.shared, request.into_inner(), &call).await;
        produced.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let call = Call::of(&request);
        let batches = request.into_inner().map(|message| {
            let v1::ProduceStreamRequest { request_id, batch } = message?;
            Ok(Numbered { request_id, batch: batch.unwrap_or_default() })
        });
        let answers = pipeline::serve(&self.shared, batches, call);
        let shared = self.shared.clone();
        let responses = answers.map(move |answer| match answer {
            Ok(answer) => Ok(stream_response(&shared, answer)),
            Err(error) => Err(shared.status(error)),
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn consume(
        &self,
        request: Request<v1::ConsumeRequest>,
    ) -> Result<Response<v1::ConsumeResponse>, Status> {
        let call = Call::of(&request);
        let read = self.consume_one(request.into_inner(), call).await;
        read.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn consume_stream(
        &self,
        request: Request<v1::ConsumeStreamRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        let call = Call::of(&request);
        let read = self.consume_many(request.into_inner(), call).await;
        read.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn get_tail(
        &self,
        request: Request<v1::GetTailRequest>,
    ) -> Result<Response<v1::GetTailResponse>, Status> {
        let call = Call::of(&request);
        let tail = self.tail(request.into_inner(), call).await;
        tail.map(Response::new).map_err(|error| self.shared.status(error))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let call = Call::of(&request);
        self.identify(request.into_inner(), call).await.map(Response::new).map_err(status)
    }
}

fn stream_response(shared: &Shared, answer: Answer) -> v1::ProduceStreamResponse {
    use v1::produce_stream_response::Result as Outcome;
    let result = match answer.result {
        Ok(ack) => Outcome::Ack(ack),
        Err(error) => Outcome::Error(shared.view.with_leader_addr(error).into()),
    };
    v1::ProduceStreamResponse {
        request_id: answer.request_id,
        result: Some(result),
        reconnect_advised: answer.draining,
    }
}

fn event_response(event: Event) -> v1::ConsumeStreamResponse {
    let (piece, reconnect_advised) = match event {
        Event::Piece(piece) | Event::Heartbeat(piece) => (piece, false),
        Event::Draining(piece) => (piece, true),
    };
    v1::ConsumeStreamResponse { batch: Some(piece.into_response()), reconnect_advised }
}

/// When a record was appended, if there is one and it can be read.
async fn append_time(partition: &Partition, offset: Option<Offset>) -> Option<Timestamp> {
    let read = partition.read(offset?, None, 1).await.ok()?;
    read.batches.first().map(|stored| stored.append_time)
}

fn max_wait(wait: Option<&prost_types::Duration>) -> Result<Duration, ApiError> {
    let Some(wait) = wait else { return Ok(Duration::ZERO) };
    let wait = duration_from_proto(wait).ok_or_else(|| invalid("max_wait", "it must not be negative"))?;
    Ok(wait.min(Duration::from_millis(CONSUME_WAIT_MS_MAX)))
}

fn heartbeat(interval: Option<&prost_types::Duration>) -> Result<Option<Duration>, ApiError> {
    let Some(interval) = interval else { return Ok(None) };
    let allowed = Duration::from_millis(HEARTBEAT_MS_MIN)..=Duration::from_millis(HEARTBEAT_MS_MAX);
    match duration_from_proto(interval) {
        Some(interval) if allowed.contains(&interval) => Ok(Some(interval)),
        _ => {
            let message = format!("it must be {HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX} ms");
            Err(invalid("heartbeat_interval", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_api::error::Reason;

    fn millis(ms: i64) -> prost_types::Duration {
        prost_types::Duration { seconds: ms / 1000, nanos: ((ms % 1000) * 1_000_000) as i32 }
    }

    #[test]
    fn waits_are_capped_and_never_negative() {
        assert_eq!(max_wait(None).unwrap(), Duration::ZERO);
        assert_eq!(max_wait(Some(&millis(5))).unwrap(), Duration::from_millis(5));
        assert_eq!(max_wait(Some(&millis(3_600_000))).unwrap(), Duration::from_millis(CONSUME_WAIT_MS_MAX));
        assert_eq!(max_wait(Some(&millis(-5))).unwrap_err().reason, Reason::InvalidRequest);
    }

    #[test]
    fn heartbeats_are_neither_too_frequent_nor_too_rare() {
        assert_eq!(heartbeat(None).unwrap(), None);
        assert_eq!(heartbeat(Some(&millis(100))).unwrap(), Some(Duration::from_millis(100)));
        for wrong in [0, 99, 60_001, -1] {
            assert!(heartbeat(Some(&millis(wrong))).is_err(), "{wrong}");
        }
    }
}

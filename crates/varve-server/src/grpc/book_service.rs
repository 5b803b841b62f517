//! `log.v1.Log`: the plain service of the book *Distributed Services with Go*, on partition 0 of one topic.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::CONSUME_BYTES_MAX;
use varve_api::log_v1;
use varve_api::log_v1::log_server::Log;
use varve_api::v1;
use varve_authz::Action;

use super::Shared;
use super::convert::status;
use super::follow::{self, Event};
use super::intake::Intake;
use super::pipeline::{self, Answer, Numbered};
use super::route::{Away, Errand, Read, Route, answered, from_afar_read};
use super::session::{BeyondTail, ReadRecord, Session};
use crate::limits::AWAY_TIMEOUT;
use crate::security::Call;
use crate::topics::{NewTopic, Topic};

/// The topic that the book's service is about. It is made when it is first used, whatever `auto-create-topics` says: the service
/// has no other call for it.
const TOPIC: &str = "default";

/// The plain service.
#[derive(Clone, Debug)]
pub(crate) struct BookApi {
    shared: Shared,
}

impl BookApi {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The topic, made first where there is none and the caller may make it.
    async fn topic(&self, call: &Call) -> Result<Arc<Topic>, ApiError> {
        match self.shared.topics.get(TOPIC).await {
            Err(error) if error.reason == Reason::TopicNotFound => {
                call.authorize(Action::Create, TOPIC).await?;
                let new = NewTopic { partitions: Some(1), ..NewTopic::named(TopicName::new(TOPIC)?) };
                self.shared.topics.ensure(new).await
            }
            found => found,
        }
    }

    async fn produce_one(
        &self,
        request: log_v1::ProduceRequest,
        call: &Call,
    ) -> Result<log_v1::ProduceResponse, ApiError> {
        self.topic(call).await?;
        let intake = Intake::new(&self.shared);
        let produced = intake.produce(&self.shared, produce_request(request), call).await?;
        Ok(log_v1::ProduceResponse { offset: produced.first_offset.unwrap_or_default() })
    }

    async fn consume_one(&self, offset: u64, call: &Call) -> Result<log_v1::ConsumeResponse, ApiError> {
        let request = consume_request(offset, Some(1));
        let topic = self.topic(call).await?;
        let shared = &self.shared;
        let ask = |away: Away| async move {
            let mut book = shared.forwarder.book(&away.addr)?;
            let there = call.hand_on_for(log_v1::ConsumeRequest { offset }, AWAY_TIMEOUT);
            answered(book.consume(there).boxed().await, &away)
        };
        let partition = match self.shared.read(&topic, 0, call.may_forward(), ask).await? {
            Read::Here(partition) => partition,
            Read::There(answer) => return Ok(answer),
        };
        let mut session = Session::open(&self.shared, topic, partition, request, BeyondTail::Refuse).await?;
        let mut piece = session.piece(CONSUME_BYTES_MAX).await?;
        if piece.is_empty() {
            session.catch_up(&self.shared).await;
            piece = session.piece(CONSUME_BYTES_MAX).await?;
        }
        match piece.records.into_iter().next() {
            Some(record) => Ok(consume_response(record)),
            // The book's server answers the tail itself with an error, where ours would wait for the next record.
            None => Err(ApiError::new(Reason::OffsetBeyondTail, format!("offset out of range: {offset}"))
                .with(meta::HIGH_WATERMARK, piece.next)),
        }
    }

    async fn consume_many(
        &self,
        offset: u64,
        call: &Call,
    ) -> Result<BoxStream<'static, Result<log_v1::ConsumeResponse, Status>>, ApiError> {
        let topic = self.topic(call).await?;
        let shared = &self.shared;
        let ask = |away: Away| async move {
            let mut book = shared.forwarder.book(&away.addr)?;
            let answers = book.consume_stream(call.hand_on(log_v1::ConsumeRequest { offset })).boxed().await;
            Ok((answered(answers, &away)?, away))
        };
        let partition = match self.shared.read(&topic, 0, call.may_forward(), ask).await? {
            Read::Here(partition) => partition,
            Read::There((answers, away)) => {
                let answers =
                    answers.map(move |answer| answer.map_err(|error| status(from_afar_read(&error, &away))));
                return Ok(call.while_allowed(Action::Consume, TOPIC, answers).await);
            }
        };
        // As in the book, a stream waits for its first record wherever that will be.
        let request = consume_request(offset, None);
        let session = Session::open(&self.shared, topic, partition, request, BeyondTail::Wait).await?;
        let events = follow::stream(
            session,
            None,
            self.shared.drain.clone(),
            &self.shared.read_ahead,
            &self.shared.streams,
        );
        let responses = events.flat_map(|event| {
            let responses = match event {
                Ok(Event::Piece(piece)) => piece.records.into_iter().map(consume_response).map(Ok).collect(),
                Ok(Event::Heartbeat(_) | Event::Draining(_)) => Vec::new(),
                Err(error) => vec![Err(status(error))],
            };
            stream::iter(responses)
        });
        Ok(call.while_allowed(Action::Consume, TOPIC, responses).await)
    }

    /// The servers, with the one that leads the book's log as the leader.
    async fn servers(&self) -> Result<log_v1::GetServersResponse, ApiError> {
        let view = &self.shared.view;
        let leader = match self.shared.topics.get(TOPIC).await {
            Ok(topic) => match self.shared.to_leader(&topic, 0, Errand::new(true)).await? {
                Route::Here(_) => view.this(),
                Route::There(away) => away.node,
            },
            // It is made by the first call that uses it. Any server takes that.
            Err(error) if error.reason == Reason::TopicNotFound => {
                view.controller_leader().unwrap_or_else(|| view.this())
            }
            Err(error) => return Err(error),
        };
        let server = |server: v1::Server| log_v1::Server {
            is_leader: server.id == leader.get(),
            id: server.name,
            rpc_addr: server.rpc_addr,
        };
        // Who is not there is no use to a client that cannot be told so.
        let servers = self.shared.view.servers().servers.into_iter().filter(|server| server.alive);
        Ok(log_v1::GetServersResponse { servers: servers.map(server).collect() })
    }
}

#[tonic::async_trait]
impl Log for BookApi {
    type ConsumeStreamStream = BoxStream<'static, Result<log_v1::ConsumeResponse, Status>>;
    type ProduceStreamStream = BoxStream<'static, Result<log_v1::ProduceResponse, Status>>;

    async fn produce(
        &self,
        request: Request<log_v1::ProduceRequest>,
    ) -> Result<Response<log_v1::ProduceResponse>, Status> {
        let call = Call::of(&request);
        self.produce_one(request.into_inner(), &call).await.map(Response::new).map_err(status)
    }

    async fn consume(
        &self,
        request: Request<log_v1::ConsumeRequest>,
    ) -> Result<Response<log_v1::ConsumeResponse>, Status> {
        self.consume_one(request.get_ref().offset, &Call::of(&request))
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn consume_stream(
        &self,
        request: Request<log_v1::ConsumeRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        let (offset, call) = (request.get_ref().offset, Call::of(&request));
        self.consume_many(offset, &call).await.map(Response::new).map_err(status)
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<log_v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let call = Call::of(&request);
        self.topic(&call).await.map_err(status)?;
        let batches = request.into_inner().enumerate().map(|(place, message)| {
            message.map(|message| Numbered { request_id: place as u64, batch: produce_request(message) })
        });
        let answers = pipeline::serve(&self.shared, batches, call);
        let responses = answers.map(|answer| answer.and_then(book_answer).map_err(status));
        Ok(Response::new(until_error(responses).boxed()))
    }

    async fn get_servers(
        &self,
        _request: Request<log_v1::GetServersRequest>,
    ) -> Result<Response<log_v1::GetServersResponse>, Status> {
        self.servers().await.map(Response::new).map_err(status)
    }
}

fn produce_request(request: log_v1::ProduceRequest) -> v1::ProduceRequest {
    let value = request.record.map(|record| record.value).unwrap_or_default();
    let record = v1::ProduceRecord { value: Some(value), ..v1::ProduceRecord::default() };
    v1::ProduceRequest {
        topic: TOPIC.to_owned(),
        partition: Some(0),
        records: vec![record],
        ..v1::ProduceRequest::default()
    }
}

fn consume_request(offset: u64, max_records: Option<u64>) -> v1::ConsumeRequest {
    v1::ConsumeRequest {
        topic: TOPIC.to_owned(),
        from: Some(v1::ReadFrom { start: Some(v1::read_from::Start::Offset(offset)), clamp: false }),
        bounds: Some(v1::ReadBounds { max_records, ..v1::ReadBounds::default() }),
        ..v1::ConsumeRequest::default()
    }
}

fn book_answer(answer: Answer) -> Result<log_v1::ProduceResponse, ApiError> {
    let acknowledged = answer.result?;
    Ok(log_v1::ProduceResponse { offset: acknowledged.first_offset.unwrap_or_default() })
}

fn consume_response(read: ReadRecord) -> log_v1::ConsumeResponse {
    let record = log_v1::Record {
        value: read.record.value.unwrap_or_default(),
        offset: read.record.offset.get(),
        term: read.term.get(),
        r#type: 0,
    };
    log_v1::ConsumeResponse { record: Some(record) }
}

/// The stream up to its first error: the book's streams cannot go on after one.
fn until_error<T>(
    stream: impl futures::Stream<Item = Result<T, Status>>,
) -> impl futures::Stream<Item = Result<T, Status>> {
    stream.scan(false, |failed, item| {
        let next = (!*failed).then_some(());
        *failed |= item.is_err();
        std::future::ready(next.map(|()| item))
    })
}

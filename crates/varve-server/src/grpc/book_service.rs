//! `log.v1.Log`: the plain service of the book *Distributed Services with Go*, on partition 0 of one topic.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status, Streaming};
use varve_api::TopicName;
use varve_api::error::{ApiError, Reason, meta};
use varve_api::limits::CONSUME_BYTES_MAX;
use varve_api::log_v1;
use varve_api::log_v1::log_server::Log;
use varve_api::v1;

use super::Shared;
use super::convert::status;
use super::follow::{self, Event};
use super::intake::Intake;
use super::pipeline::{self, Answer, Numbered};
use super::session::{BeyondTail, ReadRecord, Session};
use crate::topics::{NewTopic, Topic};

/// The topic that the book's service is about. It is made when it is first used.
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

    async fn topic(&self) -> Result<Arc<Topic>, ApiError> {
        match self.shared.topics.get(TOPIC) {
            Ok(topic) => Ok(topic),
            Err(_) => {
                let new = NewTopic { partitions: Some(1), ..NewTopic::named(TopicName::new(TOPIC)?) };
                self.shared.topics.ensure(new).await
            }
        }
    }

    async fn produce_one(
        &self,
        request: log_v1::ProduceRequest,
    ) -> Result<log_v1::ProduceResponse, ApiError> {
        self.topic().await?;
        let intake = Intake::new(&self.shared);
        let produced = intake.produce(&self.shared, produce_request(request)).await?;
        Ok(log_v1::ProduceResponse { offset: produced.first_offset.unwrap_or_default() })
    }

    async fn consume_one(&self, offset: u64) -> Result<log_v1::ConsumeResponse, ApiError> {
        let mut session = self.session(offset, Some(1), BeyondTail::Refuse).await?;
        let piece = session.piece(CONSUME_BYTES_MAX).await?;
        match piece.records.into_iter().next() {
            Some(record) => Ok(consume_response(record)),
            // The book's server answers the tail itself with an error, where ours would wait for the next record.
            None => Err(ApiError::new(Reason::OffsetBeyondTail, format!("offset out of range: {offset}"))
                .with(meta::HIGH_WATERMARK, piece.next)),
        }
    }

    async fn session(
        &self,
        offset: u64,
        max_records: Option<u64>,
        beyond_tail: BeyondTail,
    ) -> Result<Session, ApiError> {
        let topic = self.topic().await?;
        let request = v1::ConsumeRequest {
            topic: TOPIC.to_owned(),
            from: Some(v1::ReadFrom { start: Some(v1::read_from::Start::Offset(offset)), clamp: false }),
            bounds: Some(v1::ReadBounds { max_records, ..v1::ReadBounds::default() }),
            ..v1::ConsumeRequest::default()
        };
        Session::open_topic(&self.shared, topic, request, beyond_tail).await
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
        self.produce_one(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn consume(
        &self,
        request: Request<log_v1::ConsumeRequest>,
    ) -> Result<Response<log_v1::ConsumeResponse>, Status> {
        self.consume_one(request.get_ref().offset).await.map(Response::new).map_err(status)
    }

    async fn consume_stream(
        &self,
        request: Request<log_v1::ConsumeRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        // As in the book, a stream waits for its first record wherever that will be.
        let session = self.session(request.get_ref().offset, None, BeyondTail::Wait).await.map_err(status)?;
        let events = follow::stream(session, None, self.shared.drain.clone());
        let responses = events.flat_map(|event| {
            let responses = match event {
                Ok(Event::Piece(piece)) => piece.records.into_iter().map(consume_response).map(Ok).collect(),
                Ok(Event::Heartbeat(_) | Event::Draining(_)) => Vec::new(),
                Err(error) => vec![Err(status(error))],
            };
            stream::iter(responses)
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<log_v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        self.topic().await.map_err(status)?;
        let batches = request.into_inner().enumerate().map(|(place, message)| {
            message.map(|message| Numbered { request_id: place as u64, batch: produce_request(message) })
        });
        let answers = pipeline::serve(&self.shared, batches);
        let responses = answers.map(|answer| answer.and_then(book_answer).map_err(status));
        Ok(Response::new(until_error(responses).boxed()))
    }

    async fn get_servers(
        &self,
        _request: Request<log_v1::GetServersRequest>,
    ) -> Result<Response<log_v1::GetServersResponse>, Status> {
        let this = &self.shared.directory;
        let server =
            log_v1::Server { id: this.name.clone(), rpc_addr: this.rpc_addr.clone(), is_leader: true };
        Ok(Response::new(log_v1::GetServersResponse { servers: vec![server] }))
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

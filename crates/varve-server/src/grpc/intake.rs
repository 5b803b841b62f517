//! A produce request, as a batch for a partition.

use std::sync::Arc;

use futures::FutureExt;
use varve_api::error::ApiError;
use varve_api::v1;
use varve_authz::Action;
use varve_env::Env;
use varve_record::{
    BATCH_BYTES_MAX, Batch, BatchBuilder, Compression, HeaderRef, Limits, Offset, ProducerEpoch, ProducerId,
    Sequence, Timestamp,
};
use varve_replica::{Partition, Pending, Produce};
use varve_telemetry::TraceContext;

use super::Shared;
use super::convert::{acks, from_wire_time, produce_response, wire_acks};
use super::route::{Away, Errand, Place, Route, from_afar, moved};
use super::workshop::{Effort, Workshop};
use crate::error::{batch_error, build_error, invalid, overloaded, produce_error, push_error, timed_out};
use crate::limits::CHANGE_TIMEOUT;
use crate::security::Call;
use crate::topics::{Topic, Topics};

/// Turns requests into batches: the edge where what a client sent is checked, once.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    topics: Topics,
    env: Env,
    workshop: Workshop,
}

/// A batch that is checked, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) place: Place,
    pub(crate) produce: Produce,
    /// What it counts against the limits on bytes.
    pub(crate) bytes: u32,
}

/// How much a batch holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSize {
    records: u32,
    bytes: usize,
}

impl BatchSize {
    pub(crate) fn of(batch: &Batch) -> Self {
        Self { records: batch.record_count(), bytes: batch.size_bytes() }
    }
}

impl Intake {
    pub(crate) fn new(shared: &Shared) -> Self {
        let Shared { topics, env, workshop, .. } = shared.clone();
        Self { topics, env, workshop }
    }

    /// Checks a request, and whether its caller may append. The topic is made if there is none, where the server makes topics
    /// by itself and the caller may make it.
    pub(crate) async fn prepare(
        &self,
        call: &Call,
        request: v1::ProduceRequest,
    ) -> Result<Prepared, ApiError> {
        call.authorize(Action::Produce, &request.topic).await?;
        let acks = acks(request.acks)?;
        // What a batch says of itself goes before what its stream belongs to.
        let trace = trace_of(&request).or_else(|| call.trace());
        let topic = self.topics.get_or_create(call, &request.topic).await?;
        let place = Place::choose(topic, &request)?;
        let limits = place.limits();
        let expected_offset = request.expected_offset.map(Offset::new);
        let batch = match (request.records.is_empty(), request.encoded_batch.is_empty()) {
            (true, true) => Err(invalid("records", "give records, or an encoded batch")),
            (false, false) => Err(invalid("encoded_batch", "give records or an encoded batch, not both")),
            (false, true) => self.build(request, limits).await,
            (true, false) => self.decode(request, limits).await,
        }?;
        let bytes = u32::try_from(batch.size_bytes()).expect("a batch has at most 8 MiB");
        Ok(Prepared { place, produce: Produce { batch, expected_offset, acks, trace }, bytes })
    }

    /// Appends one batch, here or where its partition is led, and waits as it asks.
    pub(crate) async fn produce(
        &self,
        shared: &Shared,
        request: v1::ProduceRequest,
        call: &Call,
    ) -> Result<v1::ProduceResponse, ApiError> {
        // A caller that waits for nobody else is told at once, rather than kept waiting with its batch in memory: before it is
        // looked at, for which many may have to wait.
        let Some(_room) = shared.room.try_admit(held_bytes(&request)) else {
            return Err(overloaded("produce-bytes-in-flight", "too many batches wait to be written"));
        };
        let prepared = self.prepare(call, request).await?;
        let errand = Errand::new(call.may_forward());
        loop {
            let Place { topic, number } = &prepared.place;
            let outcome = match shared.to_leader(topic, *number, errand).await? {
                Route::Here(partition) => prepared.place.produce(&partition, prepared.produce.clone()).await,
                Route::There(away) => tokio::select! {
                    biased;
                    answer = hand_on(shared, call, &away, prepared.clone().into_request()) => answer,
                    () = shared.moved_from(&prepared.place, away.node) => Err(moved(&prepared.place, away.node)),
                },
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => errand.again(error).await?,
            }
        }
    }

    async fn decode(&self, request: v1::ProduceRequest, limits: Limits) -> Result<Batch, ApiError> {
        if request.producer.is_some() {
            return Err(invalid("producer", "an encoded batch carries its own id, epoch and sequence"));
        }
        let encoded = request.encoded_batch;
        let effort = Effort::to_check(&encoded);
        let check = move || {
            let batch = Batch::decode(encoded).map_err(|error| batch_error(&error))?;
            batch.validate(&limits).map_err(|error| batch_error(&error))?;
            Ok(batch)
        };
        self.workshop.run(effort, check).await
    }

    async fn build(&self, request: v1::ProduceRequest, limits: Limits) -> Result<Batch, ApiError> {
        let now = Timestamp::new(self.env.clock.now_unix_ms());
        let size_bytes = request.records.iter().map(record_bytes).sum();
        let effort = Effort::Plain(size_bytes);
        self.workshop.run(effort, move || build(&request.records, request.producer, limits, now)).await
    }
}

/// The trace that a batch says it belongs to: by itself, or by the first of its records.
fn trace_of(request: &v1::ProduceRequest) -> Option<TraceContext> {
    let of_first = || {
        let header =
            request.records.first()?.headers.iter().find(|header| header.name == TraceContext::NAME)?;
        TraceContext::parse(header.value.as_deref()?)
    };
    TraceContext::parse(request.traceparent.as_bytes()).or_else(of_first)
}

impl Prepared {
    /// As a request to another node: the batch as it is, for the partition that was chosen.
    pub(crate) fn into_request(self) -> v1::ProduceRequest {
        let Self { place, produce, .. } = self;
        v1::ProduceRequest {
            topic: place.topic.name.to_string(),
            partition: Some(place.number),
            encoded_batch: produce.batch.as_bytes().clone(),
            expected_offset: produce.expected_offset.map(u64::from),
            acks: wire_acks(produce.acks).into(),
            traceparent: produce.trace.map(TraceContext::to_traceparent).unwrap_or_default(),
            ..v1::ProduceRequest::default()
        }
    }
}

impl Place {
    fn choose(topic: Arc<Topic>, request: &v1::ProduceRequest) -> Result<Self, ApiError> {
        let number = match request.partition {
            Some(number) => number,
            None if request.records.is_empty() && topic.partition_count() > 1 => {
                let message = format!(
                    "topic {} has several: say which, since nobody looks into an encoded batch",
                    topic.name
                );
                return Err(invalid("partition", message));
            }
            None => topic.choose_partition(request.records.first().and_then(|record| record.key.as_deref())),
        };
        topic.slot(number)?;
        Ok(Self { topic, number })
    }

    fn limits(&self) -> Limits {
        Limits { record_bytes_max: self.topic.effective.record_bytes_max, ..Limits::default() }
    }

    async fn produce(
        &self,
        partition: &Partition,
        produce: Produce,
    ) -> Result<v1::ProduceResponse, ApiError> {
        let size = BatchSize::of(&produce.batch);
        let pending = tokio::time::timeout(CHANGE_TIMEOUT, self.enqueue(partition, produce)).await;
        let pending =
            pending.unwrap_or_else(|_| Err(timed_out("the way to the partition", CHANGE_TIMEOUT)))?;
        self.wait(pending, size).await
    }

    /// Hands a batch to the partition; waits for room there.
    pub(crate) async fn enqueue(&self, partition: &Partition, produce: Produce) -> Result<Pending, ApiError> {
        partition.enqueue(produce).await.map_err(|error| self.explain(error))
    }

    /// Waits for what becomes of a batch of this size.
    pub(crate) async fn wait(
        &self,
        pending: Pending,
        size: BatchSize,
    ) -> Result<v1::ProduceResponse, ApiError> {
        match tokio::time::timeout(CHANGE_TIMEOUT, pending.wait()).await {
            Ok(Ok(produced)) => {
                if produced.duplicate {
                    self.topic.traffic.repeated();
                } else {
                    self.topic.traffic.produced(size.records, size.bytes);
                }
                Ok(produce_response(self.number, produced))
            }
            Ok(Err(error)) => Err(self.explain(error)),
            Err(_) => Err(timed_out(self.topic.at(self.number), CHANGE_TIMEOUT)),
        }
    }

    fn explain(&self, error: varve_replica::ProduceError) -> ApiError {
        self.topic.explain(produce_error(error, self.topic.at(self.number)))
    }
}

async fn hand_on(
    shared: &Shared,
    call: &Call,
    away: &Away,
    request: v1::ProduceRequest,
) -> Result<v1::ProduceResponse, ApiError> {
    let mut log = shared.forwarder.log(&away.addr)?;
    let answer = tokio::time::timeout(CHANGE_TIMEOUT, log.produce(call.hand_on(request)).boxed()).await;
    let answer = answer.map_err(|_| timed_out(format!("node {}", away.node), CHANGE_TIMEOUT))?;
    answer.map(tonic::Response::into_inner).map_err(|status| from_afar(&status, away))
}

fn build(
    records: &[v1::ProduceRecord],
    producer: Option<v1::ProducerState>,
    limits: Limits,
    now: Timestamp,
) -> Result<Batch, ApiError> {
    let mut builder = BatchBuilder::with_limits(Compression::None, limits);
    if let Some(producer) = producer {
        let (id, epoch, first) = identity(&producer)?;
        builder.producer(id, epoch, first);
    }
    let mut headers = Vec::new();
    for record in records {
        let time = match &record.create_time {
            Some(time) => from_wire_time("records.create_time", time)?,
            None => now,
        };
        headers.clear();
        headers.extend(record.headers.iter().map(|h| HeaderRef { name: &h.name, value: h.value.as_deref() }));
        let size_bytes = builder.size_bytes();
        builder
            .push(time, record.key.as_deref(), record.value.as_deref(), &headers)
            .map_err(|error| push_error(error, size_bytes + record_bytes(record), BATCH_BYTES_MAX))?;
    }
    builder.build().map_err(|error| build_error(&error))
}

/// The header of a batch says by -1 that there is no producer, so that none may say it of itself.
fn identity(producer: &v1::ProducerState) -> Result<(ProducerId, ProducerEpoch, Sequence), ApiError> {
    let epoch = i16::try_from(producer.producer_epoch).ok().filter(|epoch| *epoch >= 0);
    let epoch = epoch.ok_or_else(|| invalid("producer.producer_epoch", "it must be 0 to 32767"))?;
    if producer.producer_id < 0 {
        return Err(invalid("producer.producer_id", "it must not be negative"));
    }
    if producer.first_sequence < 0 {
        return Err(invalid("producer.first_sequence", "it must not be negative"));
    }
    let (id, first) = (ProducerId::new(producer.producer_id), Sequence::new(producer.first_sequence));
    Ok((id, ProducerEpoch::new(epoch), first))
}

/// What a request holds in memory.
fn held_bytes(request: &v1::ProduceRequest) -> u32 {
    let records: usize = request.records.iter().map(record_bytes).sum();
    u32::try_from(records + request.encoded_batch.len()).unwrap_or(u32::MAX)
}

fn record_bytes(record: &v1::ProduceRecord) -> usize {
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|header| header.name.len() + len(&header.value));
    len(&record.key) + len(&record.value) + headers.sum::<usize>()
}

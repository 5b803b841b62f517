use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};
use varve_api::error::ApiError;
use varve_api::headers::{FORWARD, FORWARD_NEVER};
use varve_api::time::{duration_from_proto, timestamp_from_ms};
use varve_api::v1;
use varve_api::v1::produce_stream_response::Result as Answer;
use varve_record::Batch;

use super::State;
use crate::faults::{ConsumeFault, ProduceFault};

/// One server.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) state: Arc<State>,
}

pub(crate) type ProduceAnswer = Result<v1::ProduceStreamResponse, Status>;
pub(crate) type ProduceAnswers = mpsc::Sender<ProduceAnswer>;
pub(crate) type ConsumeAnswers = mpsc::Sender<Result<v1::ConsumeStreamResponse, Status>>;

impl Node {
    /// Takes batches without waiting for the answers to earlier ones, which may be held back.
    pub(crate) async fn take_batches(
        self,
        mut requests: Streaming<v1::ProduceStreamRequest>,
        answers: ProduceAnswers,
    ) {
        let (ready, held) = mpsc::unbounded_channel();
        tokio::spawn(self.clone().give_answers(held, answers));
        while let Ok(Some(request)) = requests.message().await {
            let Some(answer) = self.take_batch(request) else { continue };
            let is_over = answer.is_err();
            if ready.send(answer).is_err() || is_over {
                return;
            }
        }
    }

    async fn give_answers(self, mut held: mpsc::UnboundedReceiver<ProduceAnswer>, answers: ProduceAnswers) {
        while let Some(answer) = held.recv().await {
            self.state.answers.acquire().await.expect("it is never closed").forget();
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }

    /// What to answer, if anything; an error ends the stream.
    fn take_batch(&self, request: v1::ProduceStreamRequest) -> Option<ProduceAnswer> {
        let batch = request.batch.expect("the client sends one");
        let fault = self.state.inner().produce_faults.pop_front().unwrap_or(ProduceFault::Pass);
        let broken = || Some(Err(Status::unavailable("the connection broke")));
        let mut reconnect_advised = false;
        match fault {
            ProduceFault::Pass => {}
            ProduceFault::BreakBefore => return broken(),
            ProduceFault::BreakAfter => {
                let _ = self.state.append(self.id, &batch);
                return broken();
            }
            ProduceFault::Silence => {
                let _ = self.state.append(self.id, &batch);
                return None;
            }
            ProduceFault::Refuse(error) => return Some(Ok(answer(request.request_id, Err(error)))),
            ProduceFault::Fail(error) => return Some(Err(error.into())),
            ProduceFault::AdviseReconnect => reconnect_advised = true,
        }
        let result = self.state.append(self.id, &batch);
        let answer = answer(request.request_id, result);
        Some(Ok(v1::ProduceStreamResponse { reconnect_advised, ..answer }))
    }

    /// Takes note of a call about a partition that may be handed on.
    pub(crate) fn check_forward<T>(&self, call: &'static str, request: &Request<T>) {
        if request.metadata().get(FORWARD).is_none_or(|value| value != FORWARD_NEVER) {
            self.state.inner().forwardable.push(call);
        }
    }

    pub(crate) fn start_of(&self, read: &v1::ConsumeRequest) -> Result<u64, ApiError> {
        let inner = self.state.inner();
        if read.consistency == v1::ReadConsistency::Linearizable as i32 {
            inner.check_leader(self.id, read.partition)?;
        }
        let high_watermark = inner.high_watermark(self.id, read.partition);
        inner.partitions[read.partition as usize].start(read.from, high_watermark)
    }

    pub(crate) async fn send_batches(self, request: v1::ConsumeStreamRequest, answers: ConsumeAnswers) {
        let heartbeat = request.heartbeat_interval.as_ref().and_then(duration_from_proto);
        let heartbeat = heartbeat.expect("the client asks for heartbeats");
        let read = request.read.expect("the client sends one");
        let fault = self.state.inner().consume_faults.pop_front();
        let mut appended = self.state.appended.subscribe();
        let bounds = read.bounds.unwrap_or_default();
        let mut next = match self.start_of(&read) {
            Ok(next) => next,
            Err(error) => return drop(answers.send(Err(error.into())).await),
        };
        let mut sent = 0;
        // A heartbeat, which must change nothing; a read with nothing in its bounds just ends.
        let is_quiet = self.state.inner().quiet || bounds.until_offset.is_some_and(|until| next >= until);
        if !is_quiet && answers.send(Ok(self.piece(read.partition, next, None))).await.is_err() {
            return;
        }
        loop {
            if bounds.until_offset.is_some_and(|until| next >= until) {
                return;
            }
            let mut batch = self.batch_at(read.partition, next);
            if let (Some(found), Some(ConsumeFault::LeaveOut)) = (&batch, &fault) {
                batch = self.batch_at(read.partition, found.last_offset().get() + 1);
            }
            let Some(batch) = batch else {
                let is_heartbeat = tokio::time::timeout(heartbeat, appended.changed()).await.is_err();
                let piece = self.piece(read.partition, next, None);
                if is_heartbeat && answers.send(Ok(piece)).await.is_err() {
                    return;
                }
                continue;
            };
            match fault {
                Some(ConsumeFault::BreakAfter(batches)) if batches == sent => {
                    let _ = answers.send(Err(Status::unavailable("the connection broke"))).await;
                    return;
                }
                Some(ConsumeFault::EndAfter(batches)) if batches == sent => return,
                // It says nothing more, and keeps the stream open.
                Some(ConsumeFault::SilentAfter(batches)) if batches == sent => return answers.closed().await,
                Some(ConsumeFault::Fail(error)) => {
                    let _ = answers.send(Err(error.into())).await;
                    return;
                }
                _ => {}
            }
            next = batch.last_offset().get() + 1;
            sent += 1;
            let mut answer = self.piece(read.partition, next, Some(&batch));
            if let Some(ConsumeFault::Damage) = fault {
                damage(&mut answer);
            }
            if let Some(ConsumeFault::AdviseReconnectAfter(batches)) = fault {
                answer.reconnect_advised = batches == sent;
            }
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
            self.state.inner().batches_sent += 1;
        }
    }

    /// A piece with a batch, or none; the append time of a batch is its first offset, in milliseconds.
    fn piece(&self, partition: u32, next_offset: u64, batch: Option<&Batch>) -> v1::ConsumeStreamResponse {
        let encoded = batch.map(|batch| v1::EncodedBatch {
            data: batch.as_bytes().clone(),
            append_time: Some(timestamp_from_ms(batch.base_offset().get() as i64)),
        });
        let inner = self.state.inner();
        let batch = v1::ConsumeResponse {
            batches: encoded.into_iter().collect(),
            next_offset,
            log_start_offset: inner.partitions[partition as usize].log_start,
            high_watermark: inner.high_watermark(self.id, partition),
            ..Default::default()
        };
        v1::ConsumeStreamResponse { batch: Some(batch), reconnect_advised: false }
    }

    fn batch_at(&self, partition: u32, offset: u64) -> Option<Batch> {
        let inner = self.state.inner();
        let known = inner.high_watermark(self.id, partition);
        let found = inner.partitions[partition as usize].batches.iter();
        found.clone().find(|batch| (offset..known).contains(&batch.last_offset().get())).cloned()
    }
}

fn answer(request_id: u64, result: Result<v1::ProduceResponse, ApiError>) -> v1::ProduceStreamResponse {
    let result = match result {
        Ok(ack) => Answer::Ack(ack),
        Err(error) => Answer::Error(error.into()),
    };
    v1::ProduceStreamResponse { request_id, result: Some(result), reconnect_advised: false }
}

fn damage(answer: &mut v1::ConsumeStreamResponse) {
    let data = &mut answer.batch.as_mut().expect("there is one").batches[0].data;
    let mut bytes = data.to_vec();
    *bytes.last_mut().expect("a batch has bytes") ^= 1;
    *data = bytes.into();
}

use std::pin::Pin;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use varve_api::time::duration_from_proto;
use varve_api::v1;
use varve_api::v1::log_service_server::LogService;

use super::node::Node;
use crate::faults::ProduceFault;

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl LogService for Node {
    type ProduceStreamStream = BoxStream<v1::ProduceStreamResponse>;
    type ConsumeStreamStream = BoxStream<v1::ConsumeStreamResponse>;

    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        self.state.count("produce");
        self.check_forward("produce", &request);
        let fault = self.state.inner().produce_faults.pop_front();
        if let Some(ProduceFault::Fail(error)) = fault {
            return Err(error.into());
        }
        let first_offset = Some(self.state.inner().partitions[0].next_offset());
        let partition = request.into_inner().partition.unwrap_or(0);
        Ok(Response::new(v1::ProduceResponse { partition, first_offset, ..Default::default() }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        self.state.count("produce_stream");
        self.check_forward("produce_stream", &request);
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(self.clone().take_batches(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    /// Waits as long as it is asked to, and answers with no records.
    async fn consume(
        &self,
        request: Request<v1::ConsumeRequest>,
    ) -> Result<Response<v1::ConsumeResponse>, Status> {
        self.state.count("consume");
        self.check_forward("consume", &request);
        let read = request.into_inner();
        let next_offset = self.start_of(&read)?;
        if let Some(wait) = read.max_wait.as_ref().and_then(duration_from_proto) {
            tokio::time::sleep(wait).await;
        }
        Ok(Response::new(v1::ConsumeResponse { next_offset, ..Default::default() }))
    }

    async fn consume_stream(
        &self,
        request: Request<v1::ConsumeStreamRequest>,
    ) -> Result<Response<Self::ConsumeStreamStream>, Status> {
        self.state.count("consume_stream");
        self.check_forward("consume_stream", &request);
        self.state.inner().readers.push(self.id);
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().send_batches(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_tail(
        &self,
        request: Request<v1::GetTailRequest>,
    ) -> Result<Response<v1::GetTailResponse>, Status> {
        self.check_forward("get_tail", &request);
        let partition = request.into_inner().partition;
        let inner = self.state.inner();
        Ok(Response::new(v1::GetTailResponse {
            log_start_offset: inner.partitions[partition as usize].log_start,
            high_watermark: inner.high_watermark(self.id, partition),
            ..Default::default()
        }))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        self.state.count("init_producer");
        let mut inner = self.state.inner();
        inner.next_producer_id += 1;
        let fresh = (inner.next_producer_id, -1);
        let name = request.into_inner().name;
        let mut unnamed = fresh;
        let known =
            if name.is_empty() { &mut unnamed } else { inner.named_producers.entry(name).or_insert(fresh) };
        known.1 += 1;
        Ok(Response::new(v1::InitProducerResponse { producer_id: known.0, producer_epoch: known.1 }))
    }
}

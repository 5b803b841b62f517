//! Appending: batches by size and time, pipelined, in order, each record once.

mod builder;
mod delivery;
mod promise;
mod queue;
mod rebuild;
mod record;
mod stream;
mod window;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use varve_api::TopicName;

pub use self::builder::{
    ACK_TIMEOUT, Acks, DELIVERY_TIMEOUT, PRODUCER_BATCH_BYTES, PRODUCER_IN_FLIGHT_BYTES, ProducerBuilder,
};
pub use self::delivery::{Delivered, Delivery};
pub use self::record::ProducerRecord;

use self::builder::ProducerOptions;
use self::queue::Queue;
use self::stream::Template;
use self::worker::{Identity, Worker};
use crate::client::partition_not_found;
use crate::partitioner::Partitioner;
use crate::topics::TopicMap;
use crate::{Client, ClientError};

/// Appends records to a topic. Made by [`Client::producer`].
///
/// [`Producer::send`] puts a record into the batch of its partition and gives a [`Delivery`] to await. Each partition in
/// use has a worker task that sends full batches (and those that have lingered) to the leader, up to five before the
/// first is acknowledged, over one stream. It sends again what the table of errors allows, in order and under the same
/// sequence numbers, so that nothing is appended twice.
///
/// The records of a partition are appended in the order in which they were sent. If one is given up (its delivery fails),
/// those after it go on. Dropping the producer lets it finish in the background; [`Producer::close`] waits for that.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    topic: TopicName,
    options: ProducerOptions,
    identity: Option<Identity>,
    partitioner: Partitioner,
    in_flight: Arc<Semaphore>,
    partitions: Mutex<HashMap<u32, Partition>>,
    /// Whether the servers are being asked where the partitions are.
    is_asking: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Partition {
    queue: Arc<Queue>,
    worker: JoinHandle<()>,
}

impl Client {
    /// Options for a producer to a topic.
    #[must_use]
    pub fn producer(&self, topic: &str) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), topic)
    }
}

impl Producer {
    pub(crate) async fn open(
        client: Client,
        topic: TopicName,
        options: ProducerOptions,
    ) -> Result<Self, ClientError> {
        let identity = match options.idempotent {
            true => Some(client.init_producer(&options.name).await?.try_into()?),
            false => None,
        };
        let partitioner = Partitioner::new(client.env().entropy.next_u64());
        let in_flight = Arc::new(Semaphore::new(options.in_flight_bytes));
        let (partitions, is_asking) = Default::default();
        Ok(Self { client, topic, options, identity, partitioner, in_flight, partitions, is_asking })
    }

    /// Puts a record into the batch of its partition. Waits while as many bytes are in flight as may be, and for nothing
    /// else but, now and then, to learn where the partitions are.
    ///
    /// Safe to drop while it waits: the record is then not sent.
    ///
    /// # Errors
    /// If the record is too large, names a partition that does not exist, or the producer was closed or has ended. What
    /// happens on the way is told by the [`Delivery`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ClientError> {
        let held = self.hold(&record).await?;
        let map = self.topic_map().await?;
        let partition = self.partition_of(&record, &map)?;
        let queue = self.queue(partition);
        let now_ms = if record.create_time.is_none() { self.client.env().clock.now_unix_ms() } else { 0 };
        let pushed = queue.push(&record, now_ms, held.num_permits())?;
        // The worker gives them back.
        held.forget();
        if pushed.sealed && record.key.is_none() {
            self.partitioner.next();
        }
        Ok(pushed.delivery)
    }

    /// Waits until every record sent so far is acknowledged or given up, without waiting for batches to fill.
    ///
    /// # Errors
    /// The first failure of a delivery since the last flush.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let queues: Vec<_> = self.partitions().values().map(|partition| partition.queue.clone()).collect();
        let newest: Vec<_> = queues.iter().filter_map(|queue| queue.flush()).collect();
        for outcome in newest {
            // Batches are settled in order, so that the newest is the last; what became of it is noted by its queue.
            drop(outcome.await);
        }
        match queues.iter().find_map(|queue| queue.take_failure()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Flushes, takes no more records, and waits until the workers have ended.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), ClientError> {
        let flushed = self.flush().await;
        let partitions = std::mem::take(&mut *self.partitions());
        for partition in partitions.into_values() {
            partition.queue.close(ClientError::Closed);
            // It ends since its queue is closed; a panic of it was reported by its runtime.
            drop(partition.worker.await);
        }
        flushed
    }

    /// Bytes of records that wait for their acknowledgement.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.options.in_flight_bytes.saturating_sub(self.in_flight.available_permits())
    }

    /// Takes the record's part of the bytes in flight. One that is larger than all of them takes all.
    async fn hold(&self, record: &ProducerRecord) -> Result<SemaphorePermit<'_>, ClientError> {
        let bytes = record.size_bytes().min(self.options.in_flight_bytes);
        // The bytes in flight were bounded to fit when the producer was made.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.in_flight.acquire_many(bytes).await.map_err(|_| ClientError::Closed)
    }

    /// The partitions as they were known last: a server that is away must not keep records from being taken. If there is
    /// reason to ask again, that is done beside.
    async fn topic_map(&self) -> Result<Arc<TopicMap>, ClientError> {
        let Some((map, is_old)) = self.client.last_topic_map(&self.topic) else {
            return self.client.topic_map(&self.topic, true).await;
        };
        if is_old && !self.is_asking.swap(true, Ordering::AcqRel) {
            let (client, topic, is_asking) =
                (self.client.clone(), self.topic.clone(), self.is_asking.clone());
            varve_env::spawn_task(async move {
                if let Err(error) = client.topic_map(&topic, true).await {
                    tracing::debug!(%error, %topic, "partitions are not known anew");
                }
                is_asking.store(false, Ordering::Release);
            });
        }
        Ok(map)
    }

    fn partition_of(&self, record: &ProducerRecord, map: &TopicMap) -> Result<u32, ClientError> {
        let partitions = map.partitions.len();
        let count = u32::try_from(partitions).unwrap_or(u32::MAX);
        match record.partition {
            Some(partition) if partition < count => Ok(partition),
            Some(partition) => Err(partition_not_found(&self.topic, partition, partitions).into()),
            None if count == 0 => Err(partition_not_found(&self.topic, 0, 0).into()),
            None => Ok(self.partitioner.pick(record.key.as_deref(), count)),
        }
    }

    fn queue(&self, partition: u32) -> Arc<Queue> {
        let mut partitions = self.partitions();
        let partition = partitions.entry(partition).or_insert_with(|| self.start(partition));
        partition.queue.clone()
    }

    fn start(&self, partition: u32) -> Partition {
        let queue = Arc::new(Queue::new(self.options.clone(), self.client.env().telemetry.spans.clone()));
        let Self { topic, options, .. } = self;
        let (acks, idempotent) = (options.acks, options.idempotent);
        let template = Template { topic: topic.clone(), partition, acks, idempotent };
        let worker = Worker::new(
            self.client.clone(),
            template,
            self.options.clone(),
            queue.clone(),
            self.in_flight.clone(),
            self.identity,
        );
        Partition { queue, worker: varve_env::spawn_task(worker.run()) }
    }

    fn partitions(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        for partition in self.partitions().values() {
            partition.queue.close(ClientError::Closed);
        }
    }
}

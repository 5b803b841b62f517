use std::time::Duration;

use varve_api::TopicName;
use varve_api::v1;
use varve_record::{BATCH_BYTES_MAX, Compression, Limits, RECORD_BYTES_MAX};

use super::Producer;
use crate::{Client, ClientError};

/// Bytes of records in a batch, unless set otherwise.
pub const PRODUCER_BATCH_BYTES: usize = 1024 * 1024;
/// Bytes of records that a producer holds before [`Producer::send`] waits, unless set otherwise.
pub const PRODUCER_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
/// How long a record may take to be acknowledged, with all retries, unless set otherwise.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a server may take to answer a batch before another stream is opened, unless set otherwise.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// When an append counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acks {
    /// When it is committed and synced to disk on a majority of the replicas: the only one that promises durability.
    #[default]
    Quorum,
    /// When it is synced to disk on the leader, before it is committed: a leader that fails may lose it.
    Leader,
    /// As soon as a server has taken it; it may be lost, and nobody is told.
    None,
}

impl From<Acks> for v1::Acks {
    fn from(acks: Acks) -> Self {
        match acks {
            Acks::Quorum => Self::Quorum,
            Acks::Leader => Self::Leader,
            Acks::None => Self::None,
        }
    }
}

/// Options for a producer. Made by [`Client::producer`].
#[derive(Debug, Clone)]
pub struct ProducerBuilder {
    client: Client,
    topic: String,
    record_bytes_max: Option<usize>,
    pub(crate) options: ProducerOptions,
}

#[derive(Debug, Clone)]
pub(crate) struct ProducerOptions {
    pub(crate) acks: Acks,
    pub(crate) compression: Compression,
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) idempotent: bool,
    pub(crate) name: String,
    pub(crate) limits: Limits,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, topic: &str) -> Self {
        let options = ProducerOptions {
            acks: Acks::Quorum,
            compression: Compression::None,
            linger: Duration::ZERO,
            batch_bytes: PRODUCER_BATCH_BYTES,
            in_flight_bytes: PRODUCER_IN_FLIGHT_BYTES,
            delivery_timeout: DELIVERY_TIMEOUT,
            ack_timeout: ACK_TIMEOUT,
            idempotent: true,
            name: String::new(),
            limits: Limits::default(),
        };
        Self { client, topic: topic.into(), record_bytes_max: None, options }
    }

    /// When an append counts as done ([`Acks::Quorum`]). With [`Acks::None`] the producer is not idempotent.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.options.acks = acks;
        self
    }

    /// How batches are compressed (not at all).
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options.compression = compression;
        self
    }

    /// How long a batch that is not full waits for more records (not at all).
    ///
    /// Under load batches fill up without it: while as many batches are under way as may be, records gather in the next.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// At how many bytes of records a batch is full ([`PRODUCER_BATCH_BYTES`]); 8 MiB at most. A larger record goes in a
    /// batch of its own.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes.min(BATCH_BYTES_MAX);
        self
    }

    /// The most bytes of a record's key, value and headers together that [`Producer::send`] takes: what the topic takes when
    /// the producer is built, unless it is said here; 8 MiB at most, less what a batch needs besides. Where the topic takes
    /// less by then, the server refuses the record, and its [`Delivery`] says so, as `RECORD_TOO_LARGE` with the limit;
    /// records beside it go on, but a producer with a name ends.
    ///
    /// [`Delivery`]: crate::Delivery
    #[must_use]
    pub fn record_bytes_max(mut self, bytes: usize) -> Self {
        self.record_bytes_max = Some(bytes);
        self
    }

    /// How many bytes of records may wait for their acknowledgement before [`Producer::send`] waits
    /// ([`PRODUCER_IN_FLIGHT_BYTES`]).
    #[must_use]
    pub fn in_flight_bytes(mut self, bytes: usize) -> Self {
        // A semaphore of Tokio, and what is taken from it at a time, have limits.
        self.options.in_flight_bytes = bytes.clamp(1, u32::MAX as usize >> 1);
        self
    }

    /// How long a record may take, with all retries, before it is given up ([`DELIVERY_TIMEOUT`]).
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.options.delivery_timeout = timeout;
        self
    }

    /// How long a server may take to answer a batch before it is sent again on another stream ([`ACK_TIMEOUT`]).
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.options.ack_timeout = timeout;
        self
    }

    /// Whether retries carry sequence numbers, so that none is ever appended twice (they do). Without them a batch whose
    /// answer was lost is not sent again, and batches that are sent again may pass others.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.options.idempotent = idempotent;
        self
    }

    /// A stable name for the producer (none): whoever starts next under the same name fences this one off, so that of two
    /// instances only the newer one writes. At most 249 bytes. Where clients have certificates the name belongs to the subject that takes it
    /// first, and any other is refused (`PERMISSION_DENIED`).
    ///
    /// A named producer ends with the first batch that is given up, since what follows could not keep its place.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// Makes the producer: asks for the topic's partitions (and makes the topic where the server lets producers), and for
    /// an identity if it is to be idempotent.
    ///
    /// # Errors
    /// `INVALID_TOPIC_NAME`, `TOPIC_NOT_FOUND`, or as any call.
    pub async fn build(mut self) -> Result<Producer, ClientError> {
        let topic = TopicName::new(&self.topic)?;
        if self.options.acks == Acks::None {
            self.options.idempotent = false;
        }
        let topic_says = self.client.topic_map(&topic, true).await?.record_bytes_max;
        let by_default = if self.options.name.is_empty() { BATCH_BYTES_MAX } else { RECORD_BYTES_MAX };
        self.options.limits.record_bytes_max = self.record_bytes_max.or(topic_says).unwrap_or(by_default);
        Producer::open(self.client, topic, self.options).await
    }
}

use bytes::Bytes;
use varve_record::{Header, Timestamp};
use varve_telemetry::TraceContext;

/// What a record takes in a queue besides its bytes.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// A record to append. Bytes that are [`Bytes`] already are not copied before they are encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The partition; `None` leaves it to the key, or without a key to the producer.
    pub partition: Option<u32>,
    /// The key. Records of the same key go to the same partition, so that their order is kept.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// When what it tells of happened; `None` means now.
    pub create_time: Option<Timestamp>,
}

impl ProducerRecord {
    /// A record with a value.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record with a key and no value.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the create time.
    #[must_use]
    pub fn create_time(mut self, time: Timestamp) -> Self {
        self.create_time = Some(time);
        self
    }

    /// Whether it says itself which trace it belongs to.
    pub(crate) fn is_traced(&self) -> bool {
        self.headers.iter().any(|header| header.name == TraceContext::NAME)
    }

    /// The recorded trace that it says it belongs to.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        let header = self.headers.iter().find(|header| header.name == TraceContext::NAME)?;
        TraceContext::parse(header.value.as_deref()?)
    }

    /// About how many bytes it takes in a batch.
    pub(crate) fn size_bytes(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|header| header.name.len() + len(&header.value) + 4);
        len(&self.key) + len(&self.value) + headers.sum::<usize>() + RECORD_OVERHEAD_BYTES
    }
}

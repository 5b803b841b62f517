use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use varve_api::TopicName;
use varve_record::{Batch, BatchError, Header, Limits, Offset, Record, RecordRef, Timestamp};

use crate::ClientError;
use varve_telemetry::TraceContext;

/// Traces of one batch that are told of.
const TRACES_MAX: usize = 32;

/// A batch that was read, as it is stored: the fast way, for those who decode themselves or not at all.
#[derive(Debug, Clone)]
pub struct ConsumedBatch {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: u32,
    /// When the leader appended the batch.
    pub append_time: Timestamp,
    /// The batch. It may hold records outside of `wanted`, since batches are not cut.
    pub batch: Batch,
    /// The offsets of the records that were asked for and not given yet; never empty.
    pub wanted: Range<Offset>,
}

/// A record that was read. Key, value and headers' values share the memory of the message that they came in, and keep it
/// alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: u32,
    /// The place in the partition.
    pub offset: Offset,
    /// When the leader appended it.
    pub append_time: Timestamp,
    /// When the producer made it.
    pub create_time: Timestamp,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in the producer's order.
    pub headers: Vec<Header>,
}

impl ConsumedBatch {
    /// How many records of the batch are wanted.
    #[must_use]
    pub fn wanted_records(&self) -> u64 {
        self.wanted.end.distance_from(self.wanted.start).unwrap_or(0)
    }

    /// The recorded traces that its wanted records say they belong to, each once, and not very many.
    pub(crate) fn traces(&self) -> Vec<TraceContext> {
        let mut traces = Vec::new();
        let look = |record: RecordRef<'_>| {
            let header = record.headers.iter().find(|header| header.name == TraceContext::NAME);
            let trace = header.and_then(|header| TraceContext::parse(header.value?));
            if let Some(trace) = trace.filter(|trace| traces.len() < TRACES_MAX && !traces.contains(trace)) {
                traces.push(trace);
            }
        };
        // Whoever reads the records is told what is wrong with them.
        drop(self.for_each(&Limits::default(), look));
        traces
    }

    /// Calls `each` with every wanted record, without copying it.
    ///
    /// # Errors
    /// If the batch does not decompress within the limits, or a record is malformed.
    pub fn for_each(&self, limits: &Limits, mut each: impl FnMut(RecordRef<'_>)) -> Result<(), ClientError> {
        let records = self.batch.records(limits).map_err(|error| self.damaged(error))?;
        for record in &records {
            let record = record.map_err(|error| self.damaged(error))?;
            if self.wanted.contains(&record.offset) {
                each(record);
            }
        }
        Ok(())
    }

    /// The wanted records.
    ///
    /// # Errors
    /// As [`ConsumedBatch::for_each`].
    pub fn records(&self, limits: &Limits) -> Result<Vec<ConsumedRecord>, ClientError> {
        let records = self.batch.records(limits).map_err(|error| self.damaged(error))?;
        let is_wanted = |record: &Result<Record, BatchError>| {
            record.as_ref().map_or(true, |record| self.wanted.contains(&record.offset))
        };
        let records = records.owned().filter(is_wanted);
        records
            .map(|record| record.map(|record| self.consumed(record)).map_err(|e| self.damaged(e)))
            .collect()
    }

    fn consumed(&self, record: Record) -> ConsumedRecord {
        ConsumedRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: record.offset,
            append_time: self.append_time,
            create_time: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }

    fn damaged(&self, error: BatchError) -> ClientError {
        ClientError::Damaged { partition: self.partition, source: Arc::new(error) }
    }
}

impl ConsumedRecord {
    /// The recorded trace that its producer says it belongs to: what is done about it may be linked to that.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        let header = self.headers.iter().find(|header| header.name == TraceContext::NAME)?;
        TraceContext::parse(header.value.as_deref()?)
    }
}

//! What clients do: append values, one batch after another, and read.

use super::recorder::Recorder;
use std::cell::RefCell;
use varve_check::{Outcome, Request};
use varve_env::{Entropy, SeededEntropy};
use varve_record::{
    Batch, BatchBuilder, Compression, Limits, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp,
};
use varve_replica::{Acks, Consistency, Partition, Produce, ProduceError, ReadError};

/// Bytes that one read asks for.
const READ_BYTES: usize = 16 * 1024;

/// An idempotent producer. It outlives power cuts: what it does not know the outcome of it sends again, under the same sequence.
#[derive(Debug)]
pub(crate) struct Producer {
    id: i64,
    sequence: i32,
    /// The append whose outcome is not known.
    open: Option<Open>,
    entropy: SeededEntropy,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    op: u64,
    value: u64,
    padding: usize,
}

/// Values are unique in a run.
#[derive(Debug, Default)]
pub(crate) struct Values(RefCell<u64>);

impl Values {
    fn next(&self) -> u64 {
        let mut last = self.0.borrow_mut();
        *last += 1;
        *last
    }
}

impl Producer {
    pub(crate) fn new(id: i64, seed: u64) -> Self {
        Self { id, sequence: 0, open: None, entropy: SeededEntropy::new(seed) }
    }

    /// Appends until `count` appends are done, or the node is gone.
    pub(crate) async fn run(
        &mut self,
        partition: &Partition,
        recorder: &Recorder,
        values: &Values,
        count: u64,
    ) {
        for _ in 0..count {
            let open = self.open.unwrap_or_else(|| self.begin(recorder, values));
            self.open = Some(open);
            match partition.produce(self.produce(open)).await {
                Ok(produced) => {
                    let offset = produced.first_offset.unwrap_or_default().get();
                    recorder.complete(open.op, Outcome::Appended { offset });
                    self.sequence += 1;
                    self.open = None;
                }
                Err(ProduceError::Overloaded | ProduceError::DiskFull) => tokio::task::yield_now().await,
                // The node is going down; nobody knows what became of this append, and it is sent again.
                Err(_) => return,
            }
        }
    }

    fn begin(&self, recorder: &Recorder, values: &Values) -> Open {
        let value = values.next();
        let padding = usize::try_from(self.entropy.below(4_000)).unwrap_or(0);
        Open { op: recorder.invoke(Request::Append { value }), value, padding }
    }

    fn produce(&self, open: Open) -> Produce {
        Produce { batch: self.batch(open), expected_offset: None, acks: Acks::Quorum, trace: None }
    }

    fn batch(&self, open: Open) -> Batch {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.producer(ProducerId::new(self.id), ProducerEpoch::new(0), Sequence::new(self.sequence));
        let value = format!("{:020}{}", open.value, ".".repeat(open.padding));
        builder
            .push(Timestamp::new(0), None, Some(value.as_bytes()), &[])
            .expect("a record of 4 KB is within the limits");
        builder.build().expect("one record is within the limits")
    }
}

/// Reads from the start of the log to its end, a session, until `count` reads are done or the node is gone.
pub(crate) async fn consume(partition: &Partition, recorder: &Recorder, session: u64, count: u64) {
    let mut next = partition.progress().log_start_offset;
    for _ in 0..count {
        let op = recorder.invoke(Request::Read { session, linearizable: true });
        match read(partition, next).await {
            Ok((values, high_watermark)) => {
                let first_offset = next.get();
                next = next + values.len() as u64;
                let high_watermark = high_watermark.get();
                recorder.complete(op, Outcome::Read { first_offset, values, high_watermark });
            }
            Err(_) => return recorder.complete(op, Outcome::Failed),
        }
        tokio::task::yield_now().await;
    }
}

/// The values from an offset on, and the high watermark that they came with.
pub(crate) async fn read(partition: &Partition, from: Offset) -> Result<(Vec<u64>, Offset), ReadError> {
    let high_watermark = partition.barrier(Consistency::Linearizable).await?;
    let read = partition.read(from, Some(high_watermark), READ_BYTES).await?;
    let mut values = Vec::new();
    for stored in &read.batches {
        let records = stored.batch.records(&Limits::default()).expect("what was stored can be read");
        for record in records.iter() {
            let record = record.expect("what was stored can be read");
            let value = record.value.unwrap_or_default();
            let digits = value.get(..20).and_then(|digits| std::str::from_utf8(digits).ok());
            if record.offset >= from && record.offset < high_watermark {
                // What is no value of ours is one that nobody appended, which the checker names.
                values.push(digits.and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX));
            }
        }
    }
    Ok((values, high_watermark))
}

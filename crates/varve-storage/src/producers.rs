//! What idempotent producers sent last: how a retry is told from a new batch.

use std::collections::BTreeMap;
use varve_record::{Index, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Batches remembered for each producer: a producer may have that many in flight, as in Kafka.
pub const PRODUCER_BATCHES_MAX: usize = 5;

/// The answer to "has this batch been appended?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerCheck {
    /// It is the producer's next batch.
    New,
    /// It was appended before.
    Duplicate {
        /// The offset of its first record.
        first_offset: Offset,
        /// The offset after its last record.
        next_offset: Offset,
        /// When it was appended.
        append_time: Timestamp,
        /// Its entry.
        index: Index,
    },
    /// A batch before it is missing, or it is a retry of one that is no longer remembered.
    OutOfOrder {
        /// The sequence that the producer's next batch must begin with.
        expected: Sequence,
    },
    /// A newer epoch of the producer has written.
    Fenced {
        /// That epoch.
        current_epoch: ProducerEpoch,
    },
    /// Nothing is known of the producer, and this is not its first batch.
    UnknownProducer,
}

/// One batch of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerBatch {
    pub(crate) first_sequence: Sequence,
    pub(crate) record_count: u32,
    pub(crate) first_offset: Offset,
    pub(crate) append_time: Timestamp,
    pub(crate) index: Index,
}

impl ProducerBatch {
    fn next_sequence(&self) -> Sequence {
        self.first_sequence.wrapping_add(self.record_count)
    }
}

/// What is remembered of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    /// The newest batches of this epoch, oldest first; the first `batches_len` count.
    batches: [ProducerBatch; PRODUCER_BATCHES_MAX],
    batches_len: u8,
}

impl Producer {
    pub(crate) fn new(epoch: ProducerEpoch) -> Self {
        Self { epoch, batches: Default::default(), batches_len: 0 }
    }

    pub(crate) fn batches(&self) -> &[ProducerBatch] {
        &self.batches[..usize::from(self.batches_len)]
    }

    pub(crate) fn push(&mut self, batch: ProducerBatch) {
        if usize::from(self.batches_len) == PRODUCER_BATCHES_MAX {
            self.batches.rotate_left(1);
            self.batches_len -= 1;
        }
        self.batches[usize::from(self.batches_len)] = batch;
        self.batches_len += 1;
    }

    fn check(&self, epoch: ProducerEpoch, first_sequence: Sequence, record_count: u32) -> ProducerCheck {
        if epoch < self.epoch {
            return ProducerCheck::Fenced { current_epoch: self.epoch };
        }
        if epoch > self.epoch {
            return begins(first_sequence, ProducerCheck::OutOfOrder { expected: Sequence::new(0) });
        }
        let same = |b: &&ProducerBatch| b.first_sequence == first_sequence && b.record_count == record_count;
        if let Some(batch) = self.batches().iter().rev().find(same) {
            return ProducerCheck::Duplicate {
                first_offset: batch.first_offset,
                next_offset: batch.first_offset + u64::from(batch.record_count),
                append_time: batch.append_time,
                index: batch.index,
            };
        }
        match self.batches().last().map_or(Sequence::new(0), ProducerBatch::next_sequence) {
            expected if expected == first_sequence => ProducerCheck::New,
            expected => ProducerCheck::OutOfOrder { expected },
        }
    }
}

/// The newest batches of the newest producers. All in it follows from the log's order alone, so that every replica that
/// holds the same entries holds the same table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    by_id: BTreeMap<ProducerId, Producer>,
    /// Each producer's last entry, oldest first: who is forgotten next.
    by_last_index: BTreeMap<Index, ProducerId>,
}

impl ProducerTable {
    /// Whether a batch is new, against all that was appended.
    #[must_use]
    pub fn check(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
        first_sequence: Sequence,
        record_count: u32,
    ) -> ProducerCheck {
        match self.by_id.get(&id) {
            Some(producer) => producer.check(epoch, first_sequence, record_count),
            None => begins(first_sequence, ProducerCheck::UnknownProducer),
        }
    }

    /// The epoch that a producer wrote with last; `None` where it is not known.
    #[must_use]
    pub fn epoch(&self, id: ProducerId) -> Option<ProducerEpoch> {
        self.by_id.get(&id).map(|producer| producer.epoch)
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Remembers a batch that the log now holds; checks nothing, for the log's order decides. Beyond `producers_max` the
    /// producer whose last batch is the oldest is forgotten.
    pub(crate) fn record(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        batch: ProducerBatch,
        producers_max: usize,
    ) {
        let producer = self.by_id.entry(id).or_insert_with(|| Producer::new(epoch));
        if let Some(last) = producer.batches().last() {
            self.by_last_index.remove(&last.index);
        }
        if producer.epoch != epoch {
            *producer = Producer::new(epoch);
        }
        self.by_last_index.insert(batch.index, id);
        producer.push(batch);
        while self.by_id.len() > producers_max.max(1) {
            let Some((_, oldest)) = self.by_last_index.pop_first() else { break };
            self.by_id.remove(&oldest);
        }
    }

    /// Producers in the order of their ids.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (ProducerId, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// Puts back a producer that was read from a checkpoint; false where it contradicts one that is there.
    pub(crate) fn restore(&mut self, id: ProducerId, producer: Producer) -> bool {
        let Some(last) = producer.batches().last() else { return false };
        let fresh = self.by_last_index.insert(last.index, id).is_none();
        fresh && self.by_id.insert(id, producer).is_none()
    }
}

/// A producer's first batch begins at sequence 0.
fn begins(first_sequence: Sequence, otherwise: ProducerCheck) -> ProducerCheck {
    if first_sequence == Sequence::new(0) { ProducerCheck::New } else { otherwise }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProducerId = ProducerId::new(7);

    fn epoch(n: i16) -> ProducerEpoch {
        ProducerEpoch::new(n)
    }

    fn batch(first_sequence: i32, record_count: u32, index: u64) -> ProducerBatch {
        ProducerBatch {
            first_sequence: Sequence::new(first_sequence),
            record_count,
            first_offset: Offset::new(index * 100),
            append_time: Timestamp::new(5),
            index: Index::new(index),
        }
    }

    fn check(table: &ProducerTable, e: i16, sequence: i32, count: u32) -> ProducerCheck {
        table.check(ID, epoch(e), Sequence::new(sequence), count)
    }

    #[test]
    fn a_retry_is_told_from_a_new_batch() {
        let mut table = ProducerTable::default();
        assert_eq!(check(&table, 0, 0, 3), ProducerCheck::New);
        assert_eq!(check(&table, 0, 3, 3), ProducerCheck::UnknownProducer);
        table.record(ID, epoch(0), batch(0, 3, 1), 10);
        let duplicate = ProducerCheck::Duplicate {
            first_offset: Offset::new(100),
            next_offset: Offset::new(103),
            append_time: Timestamp::new(5),
            index: Index::new(1),
        };
        assert_eq!(check(&table, 0, 0, 3), duplicate);
        assert_eq!(check(&table, 0, 3, 1), ProducerCheck::New);
        assert_eq!(check(&table, 0, 4, 1), ProducerCheck::OutOfOrder { expected: Sequence::new(3) });
        // A retry with another length is no retry.
        assert_eq!(check(&table, 0, 0, 2), ProducerCheck::OutOfOrder { expected: Sequence::new(3) });
    }

    #[test]
    fn a_new_epoch_fences_the_old_and_begins_at_zero() {
        let mut table = ProducerTable::default();
        table.record(ID, epoch(1), batch(0, 3, 1), 10);
        assert_eq!(check(&table, 0, 3, 1), ProducerCheck::Fenced { current_epoch: epoch(1) });
        assert_eq!(check(&table, 2, 3, 1), ProducerCheck::OutOfOrder { expected: Sequence::new(0) });
        assert_eq!(check(&table, 2, 0, 1), ProducerCheck::New);
        table.record(ID, epoch(2), batch(0, 1, 2), 10);
        assert_eq!(table.epoch(ID), Some(epoch(2)));
        assert_eq!(check(&table, 2, 1, 1), ProducerCheck::New);
    }

    #[test]
    fn sequences_wrap() {
        let mut table = ProducerTable::default();
        table.record(ID, epoch(0), batch(i32::MAX - 1, 4, 1), 10);
        assert_eq!(check(&table, 0, 2, 1), ProducerCheck::New);
    }

    #[test]
    fn five_batches_are_remembered() {
        let mut table = ProducerTable::default();
        for n in 0..6 {
            table.record(ID, epoch(0), batch(n, 1, n as u64 + 1), 10);
        }
        assert_eq!(check(&table, 0, 0, 1), ProducerCheck::OutOfOrder { expected: Sequence::new(6) });
        assert!((1..6).all(|n| matches!(check(&table, 0, n, 1), ProducerCheck::Duplicate { .. })));
    }

    #[test]
    fn the_producer_heard_of_least_recently_is_forgotten() {
        let mut table = ProducerTable::default();
        for (index, id) in [(1, 1), (2, 2), (3, 1), (4, 3)] {
            table.record(ProducerId::new(id), epoch(0), batch(0, 1, index), 2);
        }
        assert_eq!(table.iter().map(|(id, _)| id.get()).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(table.by_last_index.len(), 2);
    }
}

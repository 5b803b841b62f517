//! Reading: each partition by a stream of its own, taken up again where it broke.

mod batch;
mod builder;
mod lag;
mod reader;

use std::collections::VecDeque;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use varve_record::Limits;

pub use self::batch::{ConsumedBatch, ConsumedRecord};
pub use self::builder::{ConsumerBuilder, HEARTBEAT_INTERVAL, PREFETCH_PIECES, ReadFrom};

use self::reader::{Piece, Session};
use crate::{Client, ClientError};

/// Reads the records of a topic. Made by [`Client::consumer`].
///
/// The records of a partition come in order, each once, with none left out; those of different partitions come in any
/// order. Each partition is read ahead until [`ConsumerBuilder::prefetch_pieces`] are held; then the server waits. A
/// stream that breaks is opened again at the next offset, on another server if need be.
#[derive(Debug)]
pub struct Consumer {
    pieces: mpsc::Receiver<Piece>,
    /// The readers, which end with the consumer.
    readers: JoinSet<()>,
    batches: VecDeque<ConsumedBatch>,
    records: std::vec::IntoIter<ConsumedRecord>,
    /// How many records may still be given.
    records_left: Option<u64>,
    limits: Limits,
}

impl Client {
    /// Options for a consumer of a topic.
    #[must_use]
    pub fn consumer(&self, topic: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), topic)
    }
}

impl Consumer {
    pub(crate) fn start(options: &ConsumerBuilder, sessions: Vec<Session>) -> Self {
        let (sender, pieces) = mpsc::channel(options.prefetch_pieces);
        let mut readers = JoinSet::new();
        for session in sessions {
            readers.spawn(session.run(sender.clone()));
        }
        Self {
            pieces,
            readers,
            batches: VecDeque::new(),
            records: Vec::new().into_iter(),
            records_left: options.max_records,
            limits: options.limits,
        }
    }

    /// The next record; `None` when all that was asked for was given. Waits for records that do not exist yet, unless a
    /// bound was set. Safe to drop while it waits.
    ///
    /// # Errors
    /// If a partition cannot be read on: it is then given up, and the next calls give the other partitions'.
    pub async fn next(&mut self) -> Result<Option<ConsumedRecord>, ClientError> {
        loop {
            if let Some(record) = self.records.next() {
                return Ok(Some(record));
            }
            match self.next_batch().await? {
                None => return Ok(None),
                Some(batch) => self.records = batch.records(&self.limits)?.into_iter(),
            }
        }
    }

    /// As [`Consumer::next`], but a whole batch as it is stored: the fast way. Mixing both skips the records that are
    /// left of the batch that [`Consumer::next`] is in.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn next_batch(&mut self) -> Result<Option<ConsumedBatch>, ClientError> {
        loop {
            if self.records_left == Some(0) {
                self.readers.abort_all();
                return Ok(None);
            }
            if let Some(batch) = self.batches.pop_front() {
                return Ok(Some(self.cut(batch)));
            }
            match self.pieces.recv().await {
                None => return Ok(None),
                Some(piece) => self.batches.extend(piece?),
            }
        }
    }

    /// The records as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<ConsumedRecord, ClientError>> {
        futures::stream::unfold(self, |mut consumer| async move {
            let record = consumer.next().await.transpose()?;
            Some((record, consumer))
        })
    }

    /// Wants no more of a batch than may still be given.
    fn cut(&mut self, mut batch: ConsumedBatch) -> ConsumedBatch {
        if let Some(left) = &mut self.records_left {
            let taken = batch.wanted_records().min(*left);
            batch.wanted.end = batch.wanted.start + taken;
            *left -= taken;
        }
        batch
    }
}

//! What became of the records that were sent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use futures::FutureExt;
use serde::Serialize;
use varve_client::{ClientError, Delivered, Delivery};

use crate::units::{human_bytes, human_count};

/// Records under way at which what is known of them is taken note of between two chunks.
const LONG: usize = 64 * 1024;

/// Counts what was acknowledged.
pub(crate) struct Tally {
    started: Instant,
    /// Records whose fate is not known, in the order of the input.
    waiting: VecDeque<(Delivery, usize)>,
    /// Records whose fate is known.
    settled: u64,
    records: u64,
    bytes: u64,
    partitions: BTreeMap<u32, PartitionSummary>,
}

/// A record that was not appended.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Its number in the input, from 0.
    pub(crate) ordinal: u64,
    /// Why.
    pub(crate) error: ClientError,
}

/// What was acknowledged.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    topic: &'a str,
    records: u64,
    bytes: u64,
    seconds: f64,
    interrupted: bool,
    partitions: Vec<PartitionSummary>,
}

/// What was acknowledged of a partition. Others may have written between the first and the last offset.
#[derive(Debug, Clone, Copy, Serialize)]
struct PartitionSummary {
    partition: u32,
    records: u64,
    first_offset: Option<u64>,
    last_offset: Option<u64>,
}

impl Tally {
    /// Nothing was sent.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            waiting: VecDeque::new(),
            settled: 0,
            records: 0,
            bytes: 0,
            partitions: BTreeMap::new(),
        }
    }

    /// A record of so many bytes is under way.
    pub(crate) fn sent(&mut self, delivery: Delivery, bytes: usize) {
        self.waiting.push_back((delivery, bytes));
    }

    /// Whether the fate of a record is not known yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so many records are under way that it is worth looking.
    pub(crate) fn is_long(&self) -> bool {
        self.waiting.len() >= LONG && self.waiting.len().is_multiple_of(LONG)
    }

    /// Records that were acknowledged.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Waits for the fate of the oldest record, takes note of all that are known by then, and gives a failure if there
    /// is one. May be dropped at any time.
    pub(crate) async fn settled(&mut self) -> Option<Failed> {
        let (oldest, _) = self.waiting.front_mut()?;
        let outcome = oldest.await;
        let failed = self.note(outcome);
        failed.or_else(|| self.take_settled())
    }

    /// Takes note of all whose fate is known, up to a failure.
    pub(crate) fn take_settled(&mut self) -> Option<Failed> {
        while let Some((oldest, _)) = self.waiting.front_mut() {
            let outcome = oldest.now_or_never()?;
            if let Some(failed) = self.note(outcome) {
                return Some(failed);
            }
        }
        None
    }

    /// All that was acknowledged.
    pub(crate) fn summary<'a>(&self, topic: &'a str, interrupted: bool) -> Summary<'a> {
        Summary {
            topic,
            records: self.records,
            bytes: self.bytes,
            seconds: self.started.elapsed().as_secs_f64(),
            interrupted,
            partitions: self.partitions.values().copied().collect(),
        }
    }

    fn note(&mut self, outcome: Result<Delivered, ClientError>) -> Option<Failed> {
        let ordinal = self.settled;
        let bytes = self.waiting.pop_front().map_or(0, |(_, bytes)| bytes);
        self.settled += 1;
        match outcome {
            Ok(delivered) => {
                self.records += 1;
                self.bytes += bytes as u64;
                self.partition(delivered);
                None
            }
            Err(error) => Some(Failed { ordinal, error }),
        }
    }

    fn partition(&mut self, delivered: Delivered) {
        let Delivered { partition, offset, .. } = delivered;
        let offset = offset.map(|offset| offset.get());
        let none = PartitionSummary { partition, records: 0, first_offset: offset, last_offset: offset };
        let summary = self.partitions.entry(partition).or_insert(none);
        summary.records += 1;
        // A record that was sent again under a new identity may pass others.
        summary.first_offset = summary.first_offset.min(offset);
        summary.last_offset = summary.last_offset.max(offset);
    }
}

impl Summary<'_> {
    /// Writes it to standard error.
    pub(crate) fn write_for_people(&self) {
        let rate = human_bytes((self.bytes as f64 / self.seconds.max(1e-9)) as u64);
        let interrupted = if self.interrupted { "interrupted: " } else { "" };
        eprintln!(
            "{interrupted}{} {} ({}) acknowledged in {:.2} s, {rate}/s",
            human_count(self.records),
            if self.records == 1 { "record" } else { "records" },
            human_bytes(self.bytes),
            self.seconds,
        );
        for partition in &self.partitions {
            if let (Some(first), Some(last)) = (partition.first_offset, partition.last_offset) {
                eprintln!(
                    "topic {} partition {}: offsets {first} to {last}",
                    self.topic, partition.partition
                );
            }
        }
    }
}

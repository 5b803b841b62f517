//! The streams that are open, and how far behind those of consumers are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, interval};
use varve_replica::Partition;

use crate::topics::Topic;

/// Streams that are told of one by one: those that are furthest behind.
const TOLD_MAX: usize = 100;

/// How often it is looked how far their partitions are.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks that are remembered of a stream: an hour's.
const LOOKS_MAX: usize = 3600;

/// The next offset of a stream that has not found where it begins.
const UNKNOWN: u64 = u64::MAX;

/// The streams of a node. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenStreams(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the numbers that they have while they are open.
    consuming: Mutex<BTreeMap<usize, Arc<Consuming>>>,
    producing: AtomicUsize,
}

#[derive(Debug)]
struct Consuming {
    topic: Arc<Topic>,
    number: u32,
    partition: Partition,
    next: AtomicU64,
    /// When records were first seen beyond what it was given, and up to which offset; oldest first.
    beyond: Mutex<VecDeque<(Instant, u64)>>,
}

/// A consume stream's place among the others, until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    streams: OpenStreams,
    slot: usize,
    consuming: Arc<Consuming>,
}

/// A produce stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct Producing(OpenStreams);

/// How far behind a stream is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamLag {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) slot: usize,
    pub(crate) records: u64,
    pub(crate) seconds: f64,
}

impl OpenStreams {
    /// Looks now and then how far their partitions are, for ever.
    pub(crate) async fn run(self) {
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let open: Vec<_> = self.lock().values().cloned().collect();
            open.iter().for_each(|stream| stream.look());
        }
    }

    /// A consume stream begins.
    pub(crate) fn consume(&self, topic: Arc<Topic>, number: u32, partition: Partition) -> StreamPlace {
        let consuming = Arc::new(Consuming {
            topic,
            number,
            partition,
            next: AtomicU64::new(UNKNOWN),
            beyond: Mutex::default(),
        });
        let mut open = self.lock();
        // The lowest number that is free, so that there are never more numbers than there were streams at once.
        let slot =
            open.keys().zip(0..).find_map(|(used, at)| (*used != at).then_some(at)).unwrap_or(open.len());
        open.insert(slot, Arc::clone(&consuming));
        drop(open);
        StreamPlace { streams: self.clone(), slot, consuming }
    }

    /// A produce stream begins.
    pub(crate) fn produce(&self) -> Producing {
        self.0.producing.fetch_add(1, Ordering::Relaxed);
        Producing(self.clone())
    }

    pub(crate) fn consuming(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn producing(&self) -> usize {
        self.0.producing.load(Ordering::Relaxed)
    }

    /// Those that are furthest behind.
    pub(crate) fn lags(&self) -> Vec<StreamLag> {
        let open: Vec<_> = self.lock().iter().map(|(slot, stream)| (*slot, Arc::clone(stream))).collect();
        let mut lags: Vec<StreamLag> = open.iter().filter_map(|(slot, stream)| stream.lag(*slot)).collect();
        // Longest first: one that lacks little may have lacked it for long.
        lags.sort_by_key(|lag| Reverse((lag.seconds.to_bits(), lag.records)));
        lags.truncate(TOLD_MAX);
        lags
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<Consuming>>> {
        self.0.consuming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consuming {
    /// `None` while it has not found where it begins.
    fn lag(&self, slot: usize) -> Option<StreamLag> {
        let next = Some(self.next.load(Ordering::Relaxed)).filter(|next| *next != UNKNOWN)?;
        let records = self.partition.progress().high_watermark.get().saturating_sub(next);
        let since = self.beyond(next).front().map(|(since, _)| since.elapsed()).unwrap_or_default();
        Some(StreamLag {
            topic: self.topic.name.to_string(),
            partition: self.number,
            slot,
            records,
            seconds: if records == 0 { 0.0 } else { since.as_secs_f64() },
        })
    }

    /// Notes how far the partition is now.
    fn look(&self) {
        let next = self.next.load(Ordering::Relaxed);
        let end = self.partition.progress().high_watermark.get();
        let mut beyond = self.beyond(next);
        // Where there is no room for more, what is known of the oldest stays.
        if end > next && beyond.len() < LOOKS_MAX && beyond.back().is_none_or(|(_, seen)| *seen < end) {
            beyond.push_back((Instant::now(), end));
        }
    }

    /// What was seen that lies beyond `next`.
    fn beyond(&self, next: u64) -> MutexGuard<'_, VecDeque<(Instant, u64)>> {
        let mut beyond = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        while beyond.front().is_some_and(|(_, end)| *end <= next) {
            beyond.pop_front();
        }
        beyond
    }
}

impl StreamPlace {
    /// It has been given all before `next`.
    pub(crate) fn given(&self, next: u64) {
        self.consuming.next.store(next, Ordering::Relaxed);
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.slot);
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.0.0.producing.fetch_sub(1, Ordering::Relaxed);
    }
}

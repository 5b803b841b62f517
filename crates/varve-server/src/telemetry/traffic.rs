//! Records and bytes, of the node and of each topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What went one way.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
}

impl Flow {
    fn add(&self, records: u64, bytes: u64, batches: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.batches.fetch_add(batches, Ordering::Relaxed);
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}

/// Both ways.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    pub(crate) produced: Flow,
    pub(crate) consumed: Flow,
    /// Batches that were there already.
    pub(crate) duplicates: AtomicU64,
}

/// What went through the node. A clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Flows>);

impl Traffic {
    /// Of the whole node.
    pub(crate) fn total(&self) -> &Flows {
        &self.0
    }

    /// Of a topic, from nothing on.
    pub(crate) fn of_topic(&self) -> Arc<TopicTraffic> {
        Arc::new(TopicTraffic { total: Arc::clone(&self.0), own: Flows::default() })
    }
}

/// What went through one topic here.
#[derive(Debug)]
pub(crate) struct TopicTraffic {
    total: Arc<Flows>,
    own: Flows,
}

impl TopicTraffic {
    /// Of the topic alone.
    pub(crate) fn own(&self) -> &Flows {
        &self.own
    }

    /// A batch was acknowledged.
    pub(crate) fn produced(&self, records: u32, bytes: usize) {
        for flows in [&*self.total, &self.own] {
            flows.produced.add(records.into(), bytes as u64, 1);
        }
    }

    /// A batch was acknowledged that was there already.
    pub(crate) fn repeated(&self) {
        for flows in [&*self.total, &self.own] {
            flows.duplicates.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records were given to a consumer.
    pub(crate) fn consumed(&self, records: u64, bytes: usize) {
        for flows in [&*self.total, &self.own] {
            flows.consumed.add(records, bytes as u64, 1);
        }
    }
}

//! What a replica counts.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use varve_telemetry::{Counter, KeyValue, Level, Telemetry, catalogue};

/// The instruments of a group.
pub(crate) struct ReplicaMetrics {
    leader_changes: Counter<u64>,
    committed: Counter<u64>,
    applied: Counter<u64>,
    failed: Counter<u64>,
    pending: Level,
    whole: varve_telemetry::Stages,
    group: [KeyValue; 1],
}

impl ReplicaMetrics {
    pub(crate) fn new(telemetry: &Telemetry, is_controller: bool) -> Self {
        let group = if is_controller { "controller" } else { "partitions" };
        let metrics = Self {
            leader_changes: telemetry.counter(&catalogue::LEADER_CHANGES),
            committed: telemetry.counter(&catalogue::PROPOSALS_COMMITTED),
            applied: telemetry.counter(&catalogue::PROPOSALS_APPLIED),
            failed: telemetry.counter(&catalogue::PROPOSALS_FAILED),
            pending: telemetry.level(&catalogue::PROPOSALS_PENDING),
            whole: telemetry.stages.clone(),
            group: [KeyValue::new("group", group)],
        };
        // What counts from nothing is seen to grow by the first.
        metrics.leader_changes.add(0, &metrics.group);
        metrics.failed.add(0, &[]);
        metrics.pending.add(0, &[]);
        metrics
    }

    /// Another leads than before.
    pub(crate) fn leader_changed(&self) {
        self.leader_changes.add(1, &self.group);
    }

    /// One more entry is committed.
    pub(crate) fn committed(&self) {
        self.committed.add(1, &[]);
    }

    /// So many of them were applied.
    pub(crate) fn applied(&self, entries: u64) {
        self.applied.add(entries, &[]);
    }

    /// A batch comes in that is to be answered.
    pub(crate) fn begin(self: &Arc<Self>) -> InHand {
        self.pending.add(1, &[]);
        InHand { metrics: Arc::clone(self), since: Instant::now() }
    }
}

impl fmt::Debug for ReplicaMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaMetrics").field("group", &self.group).finish_non_exhaustive()
    }
}

/// A batch that is not answered yet.
#[derive(Debug)]
pub(crate) struct InHand {
    metrics: Arc<ReplicaMetrics>,
    pub(crate) since: Instant,
}

impl InHand {
    /// It is answered.
    pub(crate) fn answered(&self, is_committed: bool) {
        if is_committed {
            self.metrics.whole.committed(self.since.elapsed());
        } else {
            self.metrics.failed.add(1, &[]);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.metrics.pending.add(-1, &[]);
    }
}

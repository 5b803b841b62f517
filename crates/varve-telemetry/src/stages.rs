//! How long each stage of a commit takes.

use crate::catalogue::{COMMIT_DURATION, COMMIT_STAGE_DURATION};
use crate::{KeyValue, Spans, Telemetry, TraceContext};
use opentelemetry::metrics::Histogram;
use std::sync::Arc;
use std::time::Duration;

/// A stage of a commit, in the order in which a batch goes through them. On a follower there are `Append` and `Fsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the proposer.
    Queue,
    /// From the proposer's decision until the log has it, in memory.
    Append,
    /// Until it is durable on this node.
    Fsync,
    /// From its append until a majority has made it durable.
    Replicate,
    /// Until it is applied, and its producer answered.
    Apply,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Queue, Self::Append, Self::Fsync, Self::Replicate, Self::Apply];

    /// What it is called, in metrics and in traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Append => "append",
            Self::Fsync => "fsync",
            Self::Replicate => "replicate",
            Self::Apply => "apply",
        }
    }
}

/// Takes how long the stages took. A clone is another handle; where nothing is exported it is empty.
#[derive(Clone, Debug)]
pub struct Stages(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    stage: Histogram<f64>,
    whole: Histogram<f64>,
    labels: [[KeyValue; 1]; 5],
    spans: Spans,
}

impl Stages {
    /// Nothing is taken.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    pub(crate) fn new(telemetry: &Telemetry, spans: Spans) -> Self {
        Self(Some(Arc::new(Inner {
            stage: telemetry.histogram(&COMMIT_STAGE_DURATION),
            whole: telemetry.histogram(&COMMIT_DURATION),
            labels: Stage::ALL.map(|stage| [KeyValue::new("stage", stage.name())]),
            spans,
        })))
    }

    /// Whether anybody wants to know: else nobody need look at a clock.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A stage that took so long has just ended; its span goes into the trace of what was done, where that is recorded.
    pub fn took(&self, stage: Stage, took: Duration, trace: Option<TraceContext>) {
        let Some(inner) = &self.0 else { return };
        inner.stage.record(took.as_secs_f64(), &inner.labels[stage as usize]);
        if let Some(trace) = trace {
            inner.spans.record(stage.name(), trace, took, Vec::new());
        }
    }

    /// The same stage of a batch on a follower: in its trace alone, for the metric is the leader's.
    pub fn followed(&self, stage: Stage, took: Duration, trace: TraceContext) {
        let Some(inner) = &self.0 else { return };
        inner.spans.record(stage.name(), trace, took, vec![KeyValue::new("varve.role", "follower")]);
    }

    /// A commit that took so long was answered.
    pub fn committed(&self, took: Duration) {
        if let Some(inner) = &self.0 {
            inner.whole.record(took.as_secs_f64(), &[]);
        }
    }
}

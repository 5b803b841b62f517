//! Pieces of work within a trace, and where they go when they are done.

use crate::TraceContext;
use opentelemetry::KeyValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// What a span is in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The side that asks.
    Client,
    /// The side that answers.
    Server,
    /// A batch that is sent off.
    Producer,
    /// Records that are taken in.
    Consumer,
    /// Work within a node.
    Internal,
}

/// A piece of work that is done.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// Its own place.
    pub context: TraceContext,
    /// What it is part of; `None` where the trace begins with it.
    pub parent: Option<TraceContext>,
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What it is in a call.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What else is known.
    pub attributes: Vec<KeyValue>,
    /// What it goes back to without being part of it.
    pub links: Vec<TraceContext>,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// Takes spans. It must not block.
pub trait SpanSink: Send + Sync + fmt::Debug {
    /// Takes one, or drops it where there are too many.
    fn take(&self, span: SpanRecord);
}

/// Where spans go, and which traces are begun.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Recording>>);

#[derive(Debug)]
struct Recording {
    sink: Arc<dyn SpanSink>,
    /// The share of traces that are begun, of 2^64.
    share: u64,
    /// The numbers of spans: where they begin is chance, then they are mixed.
    ids: AtomicU64,
}

impl Spans {
    /// Nothing is recorded.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Spans go to `sink`. Of the work that comes without a trace `ratio` begins one, from 0 (none) to 1 (all); work that
    /// comes with one that is recorded always goes on with it.
    #[must_use]
    pub fn new(sink: Arc<dyn SpanSink>, ratio: f64) -> Self {
        let mut seed = [0; 8];
        // Without entropy the numbers begin where the clock stands.
        if getrandom::fill(&mut seed).is_err() {
            seed =
                (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64))
                    .to_le_bytes();
        }
        let share = if ratio >= 1.0 { u64::MAX } else { (ratio.max(0.0) * u64::MAX as f64) as u64 };
        Self(Some(Arc::new(Recording { sink, share, ids: AtomicU64::new(u64::from_le_bytes(seed)) })))
    }

    /// Whether anything is recorded at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a piece of work: within `parent` where there is one, else as a new trace if chance says so.
    pub fn begin(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<TraceContext>,
    ) -> Span {
        let Some(recording) = &self.0 else { return Span(None) };
        if parent.is_none() && !recording.begins() {
            return Span(None);
        }
        self.start(recording, name.into(), kind, parent, Vec::new())
    }

    /// Begins a piece of work of its own that goes back to others: recorded where one of them is, or chance says so.
    pub fn begin_linked(&self, name: &'static str, kind: SpanKind, links: Vec<TraceContext>) -> Span {
        let Some(recording) = &self.0 else { return Span(None) };
        if links.is_empty() && !recording.begins() {
            return Span(None);
        }
        self.start(recording, name.into(), kind, None, links)
    }

    /// Records a piece of work that is done, within `parent`. It ended just now.
    pub fn record(
        &self,
        name: &'static str,
        parent: TraceContext,
        took: Duration,
        attributes: Vec<KeyValue>,
    ) {
        let Some(recording) = &self.0 else { return };
        let end = SystemTime::now();
        let start = end.checked_sub(took).unwrap_or(end);
        let Some(context) = TraceContext::new(parent.trace_id(), recording.number()) else { return };
        recording.sink.take(SpanRecord {
            context,
            parent: Some(parent),
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end,
            attributes,
            links: Vec::new(),
            error: None,
        });
    }

    fn start(
        &self,
        recording: &Arc<Recording>,
        name: Cow<'static, str>,
        kind: SpanKind,
        parent: Option<TraceContext>,
        links: Vec<TraceContext>,
    ) -> Span {
        let trace = parent.map_or_else(
            || u128::from(recording.number()) << 64 | u128::from(recording.number()),
            TraceContext::trace_id,
        );
        let Some(context) = TraceContext::new(trace, recording.number()) else { return Span(None) };
        Span(Some(Box::new(Open {
            recording: Arc::clone(recording),
            context,
            parent,
            name,
            kind,
            started: Instant::now(),
            start: SystemTime::now(),
            attributes: Vec::new(),
            links,
            error: None,
        })))
    }
}

impl Recording {
    /// A number that is not 0 and looks like chance: SplitMix64 (Steele, Lea and Flood, 2014).
    fn number(&self) -> u64 {
        let mut z = self.ids.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }

    fn begins(&self) -> bool {
        self.share == u64::MAX || (self.share > 0 && self.number() <= self.share)
    }
}

/// A piece of work that goes on. It ends when it is dropped. One that is not recorded is empty.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    recording: Arc<Recording>,
    context: TraceContext,
    parent: Option<TraceContext>,
    name: Cow<'static, str>,
    kind: SpanKind,
    started: Instant,
    start: SystemTime,
    attributes: Vec<KeyValue>,
    links: Vec<TraceContext>,
    error: Option<String>,
}

impl Span {
    /// Nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Its place, for what is done within it; `None` where nothing is recorded.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.context)
    }

    /// Adds what is known, which is asked for only where it is recorded.
    pub fn set(&mut self, attribute: impl FnOnce() -> KeyValue) {
        if let Some(open) = &mut self.0 {
            open.attributes.push(attribute());
        }
    }

    /// Says that it goes back to something.
    pub fn link(&mut self, to: TraceContext) {
        if let Some(open) = &mut self.0 {
            open.links.push(to);
        }
    }

    /// Says what went wrong.
    pub fn fail(&mut self, error: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.error = Some(error());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { recording, context, parent, name, kind, started, start, attributes, links, error } = *open;
        let end = start + started.elapsed();
        recording.sink.take(SpanRecord { context, parent, name, kind, start, end, attributes, links, error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<SpanRecord>>);

    impl SpanSink for Kept {
        fn take(&self, span: SpanRecord) {
            self.0.lock().expect("no panic").push(span);
        }
    }

    #[test]
    fn work_within_work_is_one_trace() {
        let kept = Arc::new(Kept::default());
        let spans = Spans::new(Arc::clone(&kept) as Arc<dyn SpanSink>, 1.0);
        let mut outer = spans.begin("outer", SpanKind::Server, None);
        outer.set(|| KeyValue::new("a", 1));
        let place = outer.context().expect("all is recorded");
        spans.record("stage", place, Duration::from_millis(1), Vec::new());
        drop(outer);
        let kept = kept.0.lock().expect("no panic");
        let [stage, outer] = kept.as_slice() else { panic!("two spans: {kept:?}") };
        assert_eq!((stage.parent, stage.context.trace_id()), (Some(outer.context), outer.context.trace_id()));
        assert!(stage.start < stage.end && outer.parent.is_none());
    }

    #[test]
    fn what_comes_with_a_trace_goes_on_with_it_and_the_rest_by_chance() {
        let kept = Arc::new(Kept::default());
        let spans = Spans::new(Arc::clone(&kept) as Arc<dyn SpanSink>, 0.0);
        assert_eq!(spans.begin("alone", SpanKind::Server, None).context(), None);
        let parent = TraceContext::new(7, 9).expect("not 0");
        let within = spans.begin("within", SpanKind::Server, Some(parent));
        assert_eq!(within.context().map(TraceContext::trace_id), Some(7));
        let some = Spans::new(kept, 0.25);
        let begun = (0..4000).filter(|_| some.begin("x", SpanKind::Server, None).context().is_some()).count();
        assert!((700..1300).contains(&begun), "{begun} of 4000");
    }

    #[test]
    fn off_records_nothing() {
        let spans = Spans::off();
        let parent = TraceContext::new(7, 9);
        assert_eq!(spans.begin("x", SpanKind::Server, parent).context(), None);
    }
}

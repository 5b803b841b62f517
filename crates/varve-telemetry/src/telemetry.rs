//! The handle that is passed down.

use crate::metric::{Kind, Metric};
use crate::span::Spans;
use crate::stages::Stages;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider, NoopMeterProvider, UpDownCounter};
use std::fmt;
use std::sync::Arc;

/// Writes the metrics down as they are now.
pub trait Exposition: Send + Sync + fmt::Debug {
    /// All series, in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// What went wrong.
    fn text(&self) -> Result<String, String>;
}

/// What goes up and down, told by its steps.
pub type Level = UpDownCounter<i64>;

/// What a metric's value is told to, with the labels of the series.
pub type Observer<'a> = &'a dyn Fn(f64, &[KeyValue]);

/// Makes the instruments of what the [`catalogue`](crate::catalogue) has. A clone is another handle.
#[derive(Clone)]
pub struct Telemetry {
    meter: Meter,
    /// Where spans go.
    pub spans: Spans,
    /// How long the stages of commits take.
    pub stages: Stages,
    exposition: Option<Arc<dyn Exposition>>,
}

impl Telemetry {
    /// Nothing is exported, and telling costs next to nothing.
    #[must_use]
    pub fn off() -> Self {
        let meter = NoopMeterProvider::new().meter("varve");
        Self { meter, spans: Spans::off(), stages: Stages::off(), exposition: None }
    }

    /// Metrics go to `meter` and can be read through `exposition`; spans go where `spans` says.
    #[must_use]
    pub fn new(meter: Meter, spans: Spans, exposition: Arc<dyn Exposition>) -> Self {
        let this = Self { meter, spans: spans.clone(), stages: Stages::off(), exposition: Some(exposition) };
        Self { stages: Stages::new(&this, spans), ..this }
    }

    /// Reads the metrics; `None` where nothing is exported.
    #[must_use]
    pub fn exposition(&self) -> Option<Arc<dyn Exposition>> {
        self.exposition.clone()
    }

    /// A counter of the catalogue.
    ///
    /// # Panics
    /// Where the catalogue says that it is something else.
    #[must_use]
    pub fn counter(&self, metric: &Metric) -> Counter<u64> {
        assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
        self.meter
            .u64_counter(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.description)
            .build()
    }

    /// A histogram of the catalogue.
    ///
    /// # Panics
    /// Where the catalogue says that it is something else.
    #[must_use]
    pub fn histogram(&self, metric: &Metric) -> Histogram<f64> {
        let Kind::Histogram(bounds) = metric.kind else { panic!("{} is no histogram", metric.name) };
        let histogram = self.meter.f64_histogram(metric.name).with_unit(metric.unit);
        histogram.with_description(metric.description).with_boundaries(bounds.to_vec()).build()
    }

    /// A gauge of the catalogue that is told by its steps.
    ///
    /// # Panics
    /// Where the catalogue says that it is something else.
    #[must_use]
    pub fn level(&self, metric: &Metric) -> Level {
        assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
        let level = self.meter.i64_up_down_counter(metric.name).with_unit(metric.unit);
        level.with_description(metric.description).build()
    }

    /// Has a metric's series told whenever somebody reads them. What is told must be at hand: nobody may wait there.
    ///
    /// # Panics
    /// Where the metric is a histogram.
    pub fn observe(&self, metric: &Metric, tell: impl Fn(Observer<'_>) + Send + Sync + 'static) {
        let (name, unit, description) = (metric.name, metric.unit, metric.description);
        match metric.kind {
            Kind::Histogram(_) => panic!("{name} is a histogram: its values are recorded one by one"),
            Kind::Counter => drop(
                self.meter
                    .f64_observable_counter(name)
                    .with_unit(unit)
                    .with_description(description)
                    .with_callback(move |to| tell(&|value, labels| to.observe(value, labels)))
                    .build(),
            ),
            Kind::Gauge => drop(
                self.meter
                    .f64_observable_gauge(name)
                    .with_unit(unit)
                    .with_description(description)
                    .with_callback(move |to| tell(&|value, labels| to.observe(value, labels)))
                    .build(),
            ),
            // The SDK goes on to tell of a gauge that is not told of any more, and forgets a sum.
            Kind::Live => drop(
                self.meter
                    .f64_observable_up_down_counter(name)
                    .with_unit(unit)
                    .with_description(description)
                    .with_callback(move |to| tell(&|value, labels| to.observe(value, labels)))
                    .build(),
            ),
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("exported", &self.exposition.is_some())
            .field("spans", &self.spans)
            .finish()
    }
}

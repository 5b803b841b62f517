//! One metric, as the catalogue has it.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// Values by size, with the bounds of the buckets.
    Histogram(&'static [f64]),
    /// It goes up and down.
    Gauge,
    /// It goes up and down, and what it is told of comes and goes: a series is there while it is told of.
    Live,
}

/// A label, and which values it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name in OpenTelemetry.
    pub name: &'static str,
    /// Its values, in words.
    pub values: &'static str,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name in OpenTelemetry.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its unit, as UCUM writes it.
    pub unit: &'static str,
    /// What tells its series apart.
    pub labels: &'static [Label],
    /// What it is, in a sentence.
    pub description: &'static str,
}

impl Metric {
    /// Its name in Prometheus' text: `_` for dots, the unit behind it, and `_total` where it only grows.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            "1" => "_ratio",
            _ => "",
        };
        name.push_str(unit);
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// The names of the series that it has in Prometheus' text.
    #[must_use]
    pub fn prometheus_series(&self) -> Vec<String> {
        let name = self.prometheus_name();
        match self.kind {
            Kind::Histogram(_) => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).into(),
            _ => vec![name],
        }
    }
}

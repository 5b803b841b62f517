//! The figures, each beside its limit.

use crate::statistics::quantile;
use std::fmt;
use std::time::Duration;

/// A figure beside what the machine could do.
#[derive(Debug, Default)]
struct Row {
    name: String,
    figure: String,
    p99: String,
    limit: String,
    ratio: Option<Ratio>,
}

/// How a figure compares with its limit.
#[derive(Clone, Copy, Debug)]
enum Ratio {
    Is(f64),
    /// The limit was measured wrong: it is no ratio.
    Void,
}

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

/// The least time that something can take, made of others: each median is had beside its tenth percentile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    median: Duration,
    disturbed: bool,
}

/// A median so many times the tenth percentile says more of who else was running than of the machine.
const DISTURBED_TIMES: u32 = 3;

impl Limit {
    /// Of some bare measurements.
    pub(crate) fn of(samples: &mut [Duration]) -> Self {
        let (undisturbed, median) = (quantile(samples, 10), quantile(samples, 50));
        Self { median, disturbed: median > undisturbed * DISTURBED_TIMES }
    }

    /// One after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { median: self.median + other.median, disturbed: self.disturbed || other.disturbed }
    }

    /// Nothing is faster than its limit, so where something seems to be the limit is wrong.
    fn ratio(self, median: Duration) -> Ratio {
        if self.disturbed || median < self.median {
            return Ratio::Void;
        }
        Ratio::Is(median.as_secs_f64() / self.median.as_secs_f64())
    }
}

impl Report {
    /// Times of single calls, beside the least that their median could be.
    pub(crate) fn times(&mut self, name: &str, samples: &mut [Duration], limit: Option<Limit>) {
        let median = quantile(samples, 50);
        self.0.push(Row {
            name: name.to_owned(),
            figure: micros(median),
            p99: micros(quantile(samples, 99)),
            limit: limit.map_or_else(String::new, |limit| micros(limit.median)),
            ratio: limit.map(|limit| limit.ratio(median)),
        });
    }

    /// A rate beside another.
    pub(crate) fn rate(&mut self, name: &str, rate: f64, unit: &str, limit: Option<f64>) {
        self.0.push(Row {
            name: name.to_owned(),
            figure: format!("{} {unit}", thousands(rate)),
            limit: limit.map_or_else(String::new, |limit| format!("{} {unit}", thousands(limit))),
            ratio: limit.map(|limit| Ratio::Is(rate / limit)),
            ..Row::default()
        });
    }

    /// A figure that stands alone.
    pub(crate) fn plain(&mut self, name: &str, figure: String) {
        self.0.push(Row { name: name.to_owned(), figure, ..Row::default() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | median | p99 | beside | ratio |\n|---|---:|---:|---:|---:|")?;
        for Row { name, figure, p99, limit, ratio } in &self.0 {
            let ratio = match ratio {
                None => String::new(),
                Some(Ratio::Is(ratio)) => format!("{ratio:.2}"),
                Some(Ratio::Void) => "void".to_owned(),
            };
            writeln!(f, "| {name} | {figure} | {p99} | {limit} | {ratio} |")?;
        }
        if self.0.iter().any(|row| matches!(row.ratio, Some(Ratio::Void))) {
            writeln!(f, "\nvoid: the limit was measured while others had the processors; see the README")?;
        }
        Ok(())
    }
}

fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}

/// A number with its thousands set apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([thousands(7.0), thousands(1_000.4), thousands(1_234_567.0)], ["7", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_row_has_median_tail_and_ratio() {
        let mut report = Report::default();
        let mut samples: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        report.times("calls", &mut samples, Some(limit(&[25; 9])));
        let text = report.to_string();
        assert!(text.ends_with("| calls | 50 µs | 99 µs | 25 µs | 2.00 |\n"), "{text}");
    }

    #[test]
    fn a_limit_that_cannot_be_is_none() {
        let took = Duration::from_micros(50);
        assert!(matches!(limit(&[25; 9]).ratio(took), Ratio::Is(ratio) if ratio == 2.0));
        // Faster than the limit, and a limit that waited for others.
        assert!(matches!(limit(&[51; 9]).ratio(took), Ratio::Void));
        assert!(matches!(limit(&[5, 5, 20, 20, 20, 20, 20, 20, 20]).ratio(took), Ratio::Void));
        assert!(matches!(limit(&[5, 20, 20]).and(limit(&[1])).ratio(took), Ratio::Void));
    }

    fn limit(micros: &[u64]) -> Limit {
        let mut samples: Vec<_> = micros.iter().copied().map(Duration::from_micros).collect();
        Limit::of(&mut samples)
    }
}

//! The figures, each beside its limit.

use std::fmt;
use std::time::Duration;

/// A figure beside what the machine could do.
#[derive(Debug)]
struct Row {
    name: &'static str,
    figure: String,
    limit: String,
    ratio: Option<f64>,
}

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// A time beside the least that it could be.
    pub(crate) fn time(&mut self, name: &'static str, took: Duration, limit: Option<Duration>) {
        let ratio = limit.map(|limit| took.as_secs_f64() / limit.as_secs_f64());
        let limit = limit.map_or_else(String::new, micros);
        self.0.push(Row { name, figure: micros(took), limit, ratio });
    }

    /// A rate beside another.
    pub(crate) fn rate(&mut self, name: &'static str, rate: f64, unit: &'static str, limit: Option<f64>) {
        let ratio = limit.map(|limit| rate / limit);
        let limit = limit.map_or_else(String::new, |limit| format!("{} {unit}", thousands(limit)));
        self.0.push(Row { name, figure: format!("{} {unit}", thousands(rate)), limit, ratio });
    }

    /// A figure that stands alone.
    pub(crate) fn plain(&mut self, name: &'static str, figure: String) {
        self.0.push(Row { name, figure, limit: String::new(), ratio: None });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | median | beside | ratio |\n|---|---:|---:|---:|")?;
        for Row { name, figure, limit, ratio } in &self.0 {
            let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            writeln!(f, "| {name} | {figure} | {limit} | {ratio} |")?;
        }
        Ok(())
    }
}

fn micros(time: Duration) -> String {
    format!("{} us", time.as_micros())
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
}

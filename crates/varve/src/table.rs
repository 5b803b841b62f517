//! Columns for people.

use crate::failure::Failure;
use crate::output::Output;
use crate::terminal::one_line;

/// A table that is written when all of its rows are known.
pub(crate) struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. One whose name ends with `#` holds numbers, which stand to the right.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell)).collect());
    }

    /// Writes it.
    pub(crate) fn write(&self, out: &mut Output) -> Result<(), Failure> {
        for line in self.lines() {
            out.line(&line)?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let names: Vec<String> =
            self.columns.iter().map(|name| name.trim_end_matches('#').to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&names).chain(&self.rows).collect();
        let width = |column: usize| {
            all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        all.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), name) in row.iter().zip(widths).zip(&self.columns) {
            let cell =
                if name.ends_with('#') { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", "RECORDS#"]);
        table.row(["events".into(), "7".into()]);
        table.row(["a\nb".into(), "1,234,567".into()]);
        assert_eq!(table.lines(), ["NAME      RECORDS", "events          7", "a\\nb    1,234,567"]);
    }
}

//! How a record is written.

use std::io::{self, Write};

use clap::Args;
use varve_record::RecordRef;

use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::record_json::JsonRecord;
use crate::terminal::{one_line, stdout_columns};
use crate::time::format_time;

/// Columns of a key in a table; longer ones push the value on.
const KEY_COLUMNS: usize = 16;
/// Columns of a table before the value.
const COLUMNS_BEFORE_VALUE: usize = 9 + 2 + 10 + 2 + 24 + 2 + KEY_COLUMNS + 2;
/// Fewest columns that a value gets, however narrow the terminal.
const VALUE_COLUMNS_MIN: usize = 20;

/// What the form raw writes before the value, each with a tab after it.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "With -o raw, before the value")]
pub(crate) struct Prefix {
    /// The partition
    #[arg(long)]
    print_partition: bool,
    /// The offset
    #[arg(long)]
    print_offset: bool,
    /// When it was appended
    #[arg(long)]
    print_time: bool,
    /// The headers, as NAME=VALUE,NAME=VALUE
    #[arg(long)]
    print_headers: bool,
    /// The key
    #[arg(long)]
    print_key: bool,
}

impl Prefix {
    /// Whether any is asked for.
    pub(crate) fn is_some(&self) -> bool {
        self.print_partition || self.print_offset || self.print_time || self.print_headers || self.print_key
    }
}

/// A record, with what is known of its batch.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Partition.
    pub(crate) partition: u32,
    /// When it was appended, in milliseconds since 1970.
    pub(crate) append_time_ms: i64,
    /// The record.
    pub(crate) record: RecordRef<'a>,
}

/// Writes records.
pub(crate) struct Renderer {
    topic: String,
    format: Format,
    prefix: Prefix,
    delimiter: Vec<u8>,
    value_columns: Option<usize>,
    written: u64,
}

impl Renderer {
    /// Writes records of this topic in this form.
    pub(crate) fn new(topic: &str, format: Format, prefix: Prefix, delimiter: Vec<u8>) -> Self {
        let value_columns = stdout_columns()
            .map(|columns| columns.saturating_sub(COLUMNS_BEFORE_VALUE).max(VALUE_COLUMNS_MIN));
        Self { topic: topic.to_owned(), format, prefix, delimiter, value_columns, written: 0 }
    }

    /// What comes before the first record.
    pub(crate) fn begin(&mut self, out: &mut Output) -> Result<(), Failure> {
        match self.format {
            Format::Table => out.line(&table_line("PARTITION", "OFFSET", "APPENDED", "KEY", "VALUE")),
            Format::Json => out.write(|out| out.write_all(b"[")),
            Format::Jsonl | Format::Raw => Ok(()),
        }
    }

    /// Writes a record.
    pub(crate) fn record(&mut self, out: &mut Output, seen: Seen<'_>) -> Result<(), Failure> {
        let is_first = self.written == 0;
        self.written += 1;
        match self.format {
            Format::Raw => out.write(|out| self.raw(out, seen)),
            Format::Jsonl => out.json(&self.json(seen), false),
            Format::Json => {
                out.write(|out| out.write_all(if is_first { b"\n" } else { b",\n" }))?;
                out.write(|out| Ok(serde_json::to_writer(out, &self.json(seen))?))
            }
            Format::Table => out.line(&self.table(seen)),
        }
    }

    /// What comes after the last record.
    pub(crate) fn end(&mut self, out: &mut Output) -> Result<(), Failure> {
        match self.format {
            Format::Json => out.write(|out| out.write_all(if self.written == 0 { b"]\n" } else { b"\n]\n" })),
            Format::Table | Format::Jsonl | Format::Raw => Ok(()),
        }
    }

    fn raw(&self, out: &mut dyn Write, seen: Seen<'_>) -> io::Result<()> {
        let record = seen.record;
        if self.prefix.is_some() {
            self.prefix(out, seen)?;
        }
        out.write_all(record.value.unwrap_or_default())?;
        out.write_all(&self.delimiter)
    }

    fn prefix(&self, out: &mut dyn Write, seen: Seen<'_>) -> io::Result<()> {
        let (prefix, record) = (self.prefix, seen.record);
        if prefix.print_partition {
            write!(out, "{}\t", seen.partition)?;
        }
        if prefix.print_offset {
            write!(out, "{}\t", record.offset.get())?;
        }
        if prefix.print_time {
            write!(out, "{}\t", format_time(seen.append_time_ms))?;
        }
        if prefix.print_headers {
            for (i, header) in record.headers.iter().enumerate() {
                write!(out, "{}{}=", if i == 0 { "" } else { "," }, header.name)?;
                out.write_all(header.value.unwrap_or_default())?;
            }
            out.write_all(b"\t")?;
        }
        if prefix.print_key {
            out.write_all(record.key.unwrap_or_default())?;
            out.write_all(b"\t")?;
        }
        Ok(())
    }

    fn json<'a>(&'a self, seen: Seen<'a>) -> JsonRecord<'a> {
        JsonRecord {
            topic: &self.topic,
            partition: seen.partition,
            append_time_ms: seen.append_time_ms,
            record: seen.record,
        }
    }

    fn table(&self, seen: Seen<'_>) -> String {
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or_else(|| "-".into(), |b| one_line(&String::from_utf8_lossy(b)))
        };
        let mut value = text(seen.record.value);
        if let Some(columns) = self.value_columns
            && value.chars().count() > columns
        {
            value = value.chars().take(columns - 1).chain(['…']).collect();
        }
        table_line(
            &seen.partition.to_string(),
            &seen.record.offset.get().to_string(),
            &format_time(seen.append_time_ms),
            &text(seen.record.key),
            &value,
        )
    }
}

fn table_line(partition: &str, offset: &str, appended: &str, key: &str, value: &str) -> String {
    let line = format!("{partition:>9}  {offset:>10}  {appended:<24}  {key:<KEY_COLUMNS$}  {value}");
    line.trim_end().to_owned()
}

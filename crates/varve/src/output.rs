//! Standard output: the forms that data is written in, and a writer that knows how a pipe ends.

use std::io::{self, BufWriter, StdoutLock, Write};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use crate::failure::Failure;

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// One JSON document.
    Json,
    /// A JSON document a line.
    Jsonl,
    /// The bare values, a line each.
    Raw,
}

impl Format {
    fn of(name: &str) -> Self {
        match name {
            "json" => Self::Json,
            "jsonl" => Self::Jsonl,
            "raw" => Self::Raw,
            _ => Self::Table,
        }
    }
}

/// Takes any of the four forms.
pub(crate) fn any_format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["table", "json", "jsonl", "raw"]).map(|name| Format::of(&name))
}

/// Takes the forms of a command that has no bare values.
pub(crate) fn no_raw() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["table", "json", "jsonl"]).map(|name| Format::of(&name))
}

/// Takes the forms of a command that answers with one thing.
pub(crate) fn table_or_json() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["table", "json"]).map(|name| Format::of(&name))
}

/// Standard output, buffered.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes standard output.
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    /// Writes with a function that may fail as writers do.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        write(&mut self.0).map_err(|error| Failure::stdout(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(|out| writeln!(out, "{line}"))
    }

    /// Writes a JSON document, indented as people like it or on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize, indent: bool) -> Result<(), Failure> {
        self.write(|out| {
            if indent {
                serde_json::to_writer_pretty(&mut *out, value)
            } else {
                serde_json::to_writer(&mut *out, value)
            }
            .map_err(io::Error::from)?;
            out.write_all(b"\n")
        })
    }

    /// Hands on what is buffered: before each wait, and at the end.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::stdout(&error))
    }
}

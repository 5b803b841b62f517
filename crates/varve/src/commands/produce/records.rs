//! Turns the input into records, and knows the line of each.

use std::fmt;

use bytes::Bytes;
use clap::ValueEnum;
use memchr::memmem::Finder;
use varve_client::ProducerRecord;
use varve_record::Header;

use super::ProduceArgs;
use super::input::Chunk;
use super::split::{PIECE_BYTES_MAX, Splitter};
use crate::failure::{Exit, Failure};
use crate::record_json::parse_record;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// A line (or what ends with --delimiter)
    Line,
    /// A whole file
    Raw,
    /// A line with a JSON object: value, key, headers, create_time, or value_base64 and key_base64
    Json,
}

/// Reads records out of chunks.
pub(crate) struct Reader {
    format: InputFormat,
    splitter: Splitter,
    /// The file of the format raw, as far as it was read.
    whole: Vec<u8>,
    /// A piece that the end of a source left.
    last: Option<Bytes>,
    key_delimiter: Option<Finder<'static>>,
    headers: Vec<Header>,
    partition: Option<u32>,
    names: Vec<String>,
    /// The number of records before each source that was begun.
    starts: Vec<u64>,
    ordinal: u64,
}

/// Where a record was read.
pub(crate) struct Place<'a> {
    format: InputFormat,
    name: &'a str,
    line: u64,
}

impl Reader {
    /// Reads as the command line says.
    pub(crate) fn new(args: &ProduceArgs, names: Vec<String>) -> Self {
        let delimiter: &[u8] = if args.format == InputFormat::Line { args.delimiter.bytes() } else { b"\n" };
        Self {
            format: args.format,
            splitter: Splitter::new(delimiter),
            whole: Vec::new(),
            last: None,
            key_delimiter: args.key_delimiter.as_ref().map(|text| Finder::new(text.bytes()).into_owned()),
            headers: args.headers.clone(),
            partition: args.partition,
            names,
            starts: vec![0],
            ordinal: 0,
        }
    }

    /// Adds a chunk, after all records of those before were taken.
    ///
    /// # Errors
    /// If a record is longer than any may be.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result<(), Failure> {
        match (chunk, self.format) {
            (Chunk::Bytes(bytes), InputFormat::Raw) => {
                self.whole.extend_from_slice(&bytes);
                if self.whole.len() > PIECE_BYTES_MAX {
                    return Err(self.too_long());
                }
            }
            (Chunk::Bytes(bytes), _) => self.splitter.push(bytes),
            (Chunk::End, InputFormat::Raw) => self.last = Some(std::mem::take(&mut self.whole).into()),
            (Chunk::End, _) => self.last = self.splitter.finish(),
        }
        Ok(())
    }

    /// The next record.
    ///
    /// # Errors
    /// If it is longer than any may be, or no JSON where it should be.
    pub(crate) fn next(&mut self) -> Result<Option<ProducerRecord>, Failure> {
        let piece = match self.splitter.next() {
            Ok(piece) => piece.or_else(|| self.last.take()),
            Err(_) => return Err(self.too_long()),
        };
        let Some(piece) = piece else { return Ok(None) };
        let record = match self.format {
            InputFormat::Json => {
                let wrong = |problem| {
                    let place = self.place(self.ordinal);
                    Failure::new(Exit::General, format!("{place} is no record: {problem}"))
                };
                parse_record(&piece).map_err(wrong)?
            }
            InputFormat::Line | InputFormat::Raw => self.keyed(piece),
        };
        self.ordinal += 1;
        Ok(Some(self.dressed(record)))
    }

    /// After the last record of a source: the next record is the first of the next source.
    pub(crate) fn source_ended(&mut self) {
        self.starts.push(self.ordinal);
    }

    /// The number of the record read last, from 0.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal.saturating_sub(1)
    }

    /// Where a record was read.
    pub(crate) fn place(&self, ordinal: u64) -> Place<'_> {
        // The last source that begins at or before it; of sources without records the last one.
        let source = self.starts.iter().rposition(|start| *start <= ordinal).unwrap_or(0);
        let source = source.min(self.names.len() - 1);
        Place { format: self.format, name: &self.names[source], line: ordinal - self.starts[source] + 1 }
    }

    fn too_long(&self) -> Failure {
        let place = self.place(self.ordinal);
        let failure =
            Failure::new(Exit::General, format!("{place} is too large: no record may be longer than 8 MiB"));
        match self.format {
            InputFormat::Line => failure.hint("is the --delimiter right?"),
            InputFormat::Raw | InputFormat::Json => failure,
        }
    }

    /// Cuts off the key.
    fn keyed(&self, piece: Bytes) -> ProducerRecord {
        let found = self.key_delimiter.as_ref().and_then(|finder| Some((finder.find(&piece)?, finder)));
        match found {
            None => ProducerRecord { value: Some(piece), ..ProducerRecord::default() },
            Some((at, finder)) => ProducerRecord {
                key: Some(piece.slice(..at)),
                value: Some(piece.slice(at + finder.needle().len()..)),
                ..ProducerRecord::default()
            },
        }
    }

    /// Adds what the command line gives every record.
    fn dressed(&self, mut record: ProducerRecord) -> ProducerRecord {
        record.headers.extend(self.headers.iter().cloned());
        record.partition = self.partition;
        record
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            InputFormat::Raw => f.write_str(self.name),
            InputFormat::Line | InputFormat::Json => write!(f, "line {} of {}", self.line, self.name),
        }
    }
}

/// Bytes of a record's key, value and headers.
pub(crate) fn size_bytes(record: &ProducerRecord) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|header| header.name.len() + len(&header.value));
    len(&record.key) + len(&record.value) + headers.sum::<usize>()
}

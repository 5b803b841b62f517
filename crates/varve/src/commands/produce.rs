//! `varve produce`.

mod input;
mod progress;
mod records;
mod split;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use varve_api::TopicName;
use varve_api::error::{Reason, meta};
use varve_client::{Acks, ClientError, Producer};
use varve_record::{Compression, Header};

use self::input::{Chunk, Input};
use self::progress::Progress;
use self::records::{InputFormat, Reader};
use self::tally::{Failed, Tally};
use crate::cli::{Connect, Verbosity, topic_name};
use crate::commands::connection::Connection;
use crate::escape::Escaped;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Format, Output, table_or_json};
use crate::units::{human_bytes, parse_duration};

const AFTER_HELP: &str = "\
Each record is acknowledged when it is synced to disk; a retry never appends it twice. Ctrl-C waits
for what was sent, says how much was acknowledged, and ends with 130; a second one does not wait. A
server that goes away and comes back within --timeout is waited for, and nothing is lost or doubled.

Examples:
  varve produce events /var/log/dpkg.log
  journalctl -f | varve produce journal
  printf 'user-1:in\\nuser-2:out\\n' | varve produce logins -K :
  varve produce pictures --format raw --header type=image/png a.png b.png
  varve consume old -o jsonl | varve produce new --format json";

/// What `produce` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProduceArgs {
    /// Topic; it is made if the server allows that
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// Files to read, one after the other [default: standard input, also named -]
    files: Vec<PathBuf>,
    /// What a record is: line (what ends with --delimiter), raw (a whole file), or json (a line with an object: value,
    /// key, headers, create_time, or value_base64 and key_base64)
    #[arg(long, value_enum, default_value_t = InputFormat::Line, hide_possible_values = true)]
    format: InputFormat,
    /// What ends a record of the format line; \n \r \t \0 and \xHH are known
    #[arg(long, value_name = "TEXT", default_value = "\\n", value_parser = parse_delimiter)]
    delimiter: Escaped,
    /// What stands between key and value in a record of the format line; without it there is no key
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = parse_delimiter)]
    key_delimiter: Option<Escaped>,
    /// Header for every record; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<Header>,
    /// Partition for every record [default: by key, else one after the other]
    #[arg(short = 'P', long, value_name = "N")]
    partition: Option<u32>,
    /// When a record counts as appended: quorum (synced to disk on a majority), leader (synced to disk on
    /// the leader alone), or none (sent; it may be lost, and nobody is told)
    #[arg(long, value_enum, default_value_t = AcksArg::Quorum, hide_possible_values = true)]
    acks: AcksArg,
    /// How batches are compressed: none, lz4, zstd, snappy or gzip
    // On text the disk and the network save more time than lz4 costs; what does not shrink is sent as it is.
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "lz4")]
    compression: Compression,
    /// How long a batch that is not full waits for more records
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = parse_duration)]
    linger: Duration,
    /// Bytes of records in a batch
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = crate::units::parse_bytes)]
    batch_bytes: u64,
    /// How to write the summary: for people on standard error, or as JSON on standard output
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

/// When a record counts as appended.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum AcksArg {
    /// Synced to disk on a majority
    Quorum,
    /// Synced to disk on the leader alone
    Leader,
    /// Taken by a server; it may be lost, and nobody is told
    None,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::Quorum => Self::Quorum,
            AcksArg::Leader => Self::Leader,
            AcksArg::None => Self::None,
        }
    }
}

/// Why no more records are sent.
enum End {
    /// The input ended.
    Input,
    /// Ctrl-C.
    Interrupted,
    /// The input cannot be read, or a record of it is no good.
    Broken(Failure),
    /// A record was not appended.
    Refused(Failed),
}

/// Appends what is read.
pub(crate) async fn run(args: ProduceArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let mut interrupt = Interrupt::install(2)?;
    // What cannot be read is found out before anything is made on a server.
    let input = Input::open(&args.files)?;
    let connection = Connection::open(&args.connect).await?;
    let producer = match producer(&args, &connection).await {
        Ok(producer) => producer,
        Err(error) => {
            let doing = format!("append to topic {}", args.topic);
            return Err(connection.fail_topic(doing, &args.topic, &error).await);
        }
    };
    let reader = Reader::new(&args, input.names.clone());
    let progress = Progress::start(input.len, verbosity);
    let mut run = Run { producer, reader, progress, tally: Tally::new() };
    let end = run.send_all(input, &mut interrupt).await;
    let end = tokio::select! {
        biased;
        end = run.settle(end) => end,
        // What is not acknowledged by now may be appended all the same; it is not counted.
        () = interrupt.wait_again() => End::Interrupted,
    };
    run.progress.finish();
    run.conclude(&args, &connection, end, verbosity)
}

async fn producer(args: &ProduceArgs, connection: &Connection) -> Result<Producer, ClientError> {
    let builder = connection.client.producer(args.topic.as_str());
    builder
        .acks(args.acks.into())
        .compression(args.compression)
        .linger(args.linger)
        .delivery_timeout(args.connect.timeout)
        .batch_bytes(usize::try_from(args.batch_bytes).unwrap_or(usize::MAX))
        .build()
        .await
}

/// A produce under way.
struct Run {
    producer: Producer,
    reader: Reader,
    progress: Progress,
    tally: Tally,
}

impl Run {
    /// Sends until there is a reason to stop.
    async fn send_all(&mut self, mut input: Input, interrupt: &mut Interrupt) -> End {
        loop {
            let chunk = tokio::select! {
                biased;
                () = interrupt.wait() => return End::Interrupted,
                failed = self.tally.settled(), if self.tally.is_waiting() => match failed {
                    Some(failed) => return End::Refused(failed),
                    None => continue,
                },
                chunk = input.next() => chunk,
            };
            let sent = match chunk {
                None => return End::Input,
                Some(Err(failure)) => Err(End::Broken(failure)),
                Some(Ok(chunk)) => tokio::select! {
                    biased;
                    () = interrupt.wait() => Err(End::Interrupted),
                    sent = self.send(chunk) => sent,
                },
            };
            if let Err(end) = sent {
                return end;
            }
            self.progress.acknowledged(self.tally.records());
        }
    }

    /// Sends the records of a chunk.
    async fn send(&mut self, chunk: Chunk) -> Result<(), End> {
        let read = if let Chunk::Bytes(bytes) = &chunk { Some(bytes.len() as u64) } else { None };
        self.reader.push(chunk).map_err(End::Broken)?;
        while let Some(record) = self.reader.next().map_err(End::Broken)? {
            let bytes = records::size_bytes(&record);
            match self.producer.send(record).await {
                Ok(delivery) => self.tally.sent(delivery, bytes),
                Err(error) => return Err(End::Refused(Failed { ordinal: self.reader.ordinal(), error })),
            }
            if self.tally.is_long()
                && let Some(failed) = self.tally.take_settled()
            {
                return Err(End::Refused(failed));
            }
        }
        match read {
            Some(bytes) => self.progress.read(bytes),
            None => self.reader.source_ended(),
        }
        Ok(())
    }

    /// Waits for the fate of everything that was sent.
    async fn settle(&mut self, end: End) -> End {
        if let Err(error) = self.producer.flush().await {
            tracing::debug!(%error, "flush");
        }
        let mut end = end;
        while self.tally.is_waiting() {
            // What ended it first is what to tell.
            if let (Some(failed), End::Input) = (self.tally.settled().await, &end) {
                end = End::Refused(failed);
            }
        }
        end
    }

    fn conclude(
        &self,
        args: &ProduceArgs,
        connection: &Connection,
        end: End,
        verbosity: Verbosity,
    ) -> Result<(), Failure> {
        let summary = self.tally.summary(args.topic.as_str(), matches!(end, End::Interrupted));
        if !verbosity.quiet {
            summary.write_for_people();
        }
        if args.output == Format::Json {
            let mut out = Output::new();
            out.json(&summary, true)?;
            out.flush()?;
        }
        match end {
            End::Input => Ok(()),
            End::Interrupted => Err(Failure::quiet(Exit::Interrupted)),
            End::Broken(failure) => Err(failure),
            End::Refused(failed) => Err(self.refusal(args, connection, &failed)),
        }
    }

    /// The failure of a record, by the place where it was read.
    fn refusal(&self, args: &ProduceArgs, connection: &Connection, failed: &Failed) -> Failure {
        let place = self.reader.place(failed.ordinal);
        if let Some((size, limit)) = too_large(&failed.error) {
            let (size, limit) = (size.map(human_bytes), limit.map(human_bytes));
            let size = size.unwrap_or_else(|| "more than it may".into());
            let limit = limit.map_or_else(String::new, |limit| format!("; the limit is {limit}"));
            let failure =
                Failure::new(Exit::General, format!("{place} is too large: it takes {size}{limit}"));
            return failure
                .hint("split it, or raise the limit: varve topic alter TOPIC --record-bytes-max SIZE");
        }
        connection.fail(format!("append {place} to topic {}", args.topic), &failed.error)
    }
}

/// Size and limit, if it is size that an error is about.
fn too_large(error: &ClientError) -> Option<(Option<u64>, Option<u64>)> {
    match error {
        ClientError::Record(varve_record::PushError::RecordTooLarge { found, limit }) => {
            Some((Some(*found as u64), Some(*limit as u64)))
        }
        _ => {
            let error = error.api().filter(|error| error.reason == Reason::RecordTooLarge)?;
            Some((error.number(meta::SIZE_BYTES), error.number(meta::SIZE_BYTES_MAX)))
        }
    }
}

/// A delimiter must have something to find.
fn parse_delimiter(text: &str) -> Result<Escaped, String> {
    let delimiter: Escaped = text.parse()?;
    if delimiter.bytes().is_empty() { Err("it is empty".into()) } else { Ok(delimiter) }
}

fn parse_header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok(Header { name: name.to_owned(), value: Some(value.to_owned().into()) })
}

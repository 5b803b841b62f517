//! `varve consume`.

mod from;
mod render;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures::FutureExt;
use varve_api::TopicName;
use varve_client::{ClientError, ConsumedBatch, Consumer, ConsumerBuilder, ReadFrom};
use varve_record::{Limits, Offset, Timestamp};

use self::from::{From, Until, parse_from, parse_until};
use self::render::{Prefix, Renderer, Seen};
use crate::cli::{Connect, topic_name};
use crate::commands::connection::Connection;
use crate::escape::Escaped;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Format, Output, any_format};
use crate::units::parse_duration;

const AFTER_HELP: &str = "\
Without --follow it ends at what is the end of the topic when it begins. The records of a partition
come in order; partitions come one after the other, or with --follow as their records come.

Examples:
  varve consume events --from start -n 5
  varve consume events --from -5
  varve consume events --from end --follow
  varve consume events --from @2026-11-23T02:00:00Z --until 1h -o jsonl
  varve consume logins --print-key --print-offset";

/// What `consume` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ConsumeArgs {
    /// Topic
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// Where to begin in each partition: start, end, an offset, -N (the last N), @TIME (RFC 3339 or seconds since 1970),
    /// or how long ago, as in 1h
    #[arg(long, value_name = "WHERE", default_value = "start", allow_hyphen_values = true, value_parser = parse_from)]
    from: From,
    /// Where to end in each partition: before an offset, @TIME, or how long ago
    #[arg(long, value_name = "WHERE", value_parser = parse_until)]
    until: Option<Until>,
    /// Go on at the end: wait for records and write them as they come
    #[arg(short, long)]
    follow: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    max_records: Option<u64>,
    /// Only this partition [default: all]
    #[arg(short = 'P', long, value_name = "N")]
    partition: Option<u32>,
    /// Go on at the nearer end of the log where an offset lies outside of it, rather than fail
    #[arg(long)]
    clamp: bool,
    /// With --follow: end with exit code 8 if no record comes for so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "follow")]
    idle_timeout: Option<Duration>,
    /// How to write the records; raw is the bare values
    #[arg(short, long, default_value = "raw", value_name = "FORMAT", value_parser = any_format())]
    output: Format,
    /// With -o raw, after each record; \n \r \t \0 and \xHH are known, and it may be empty
    #[arg(long, value_name = "TEXT", default_value = "\\n")]
    delimiter: Escaped,
    #[command(flatten)]
    prefix: Prefix,
    #[command(flatten)]
    connect: Connect,
}

/// Reads and writes.
pub(crate) async fn run(args: ConsumeArgs) -> Result<(), Failure> {
    args.check()?;
    let interrupt = Interrupt::install(1)?;
    let connection = Connection::open(&args.connect).await?;
    let partitions = args.partitions(&connection).await?;
    let renderer =
        Renderer::new(args.topic.as_str(), args.output, args.prefix, args.delimiter.bytes().to_vec());
    let left = args.max_records;
    let mut run = Run { out: Output::new(), renderer, connection, interrupt, left, args: &args };
    run.all(partitions).await
}

impl ConsumeArgs {
    /// What clap cannot check.
    fn check(&self) -> Result<(), Failure> {
        if self.follow && self.output == Format::Json {
            let failure = Failure::usage("-o json is one document, which never ends with --follow");
            return Err(failure.hint("use -o jsonl: a document a line"));
        }
        if self.prefix.is_some() && self.output != Format::Raw {
            let failure = Failure::usage("--print-... go with -o raw only");
            return Err(failure.hint("the other forms show all there is"));
        }
        Ok(())
    }

    /// The partitions to read.
    async fn partitions(&self, connection: &Connection) -> Result<Vec<u32>, Failure> {
        let topic = connection.topic(&self.topic).await?;
        let count = topic.partitions.len();
        match self.partition {
            None => Ok(topic.partitions.iter().map(|partition| partition.partition).collect()),
            Some(partition) if (partition as usize) < count => Ok(vec![partition]),
            Some(partition) => {
                let message = format!("topic {} has no partition {partition}", self.topic);
                let hint = format!("its partitions are 0 to {}", count.saturating_sub(1));
                Err(Failure::new(Exit::NotFound, message).hint(hint))
            }
        }
    }

    /// Whether nothing can lie between beginning and end.
    fn is_empty(&self) -> bool {
        let crossed = matches!((self.from, self.until), (From::Offset(from), Some(Until::Offset(until))) if from >= until);
        crossed || self.max_records == Some(0)
    }

    fn builder(&self, connection: &Connection, partitions: Vec<u32>, left: Option<u64>) -> ConsumerBuilder {
        let now_ms = now_ms();
        let from = match self.from {
            From::Start => ReadFrom::Start,
            From::End => ReadFrom::End,
            From::Offset(offset) => ReadFrom::Offset(offset_of(offset)),
            From::Last(count) => ReadFrom::Last(count),
            From::Time(instant) => ReadFrom::Time(Timestamp::new(instant.unix_ms(now_ms))),
        };
        let builder = connection.client.consumer(self.topic.as_str());
        let mut builder = builder.partitions(partitions).from(from).clamp(self.clamp);
        builder = builder.retry_timeout(self.connect.timeout);
        builder = match self.until {
            None => builder,
            Some(Until::Offset(offset)) => builder.until_offset(offset_of(offset)),
            Some(Until::Time(instant)) => builder.until_time(Timestamp::new(instant.unix_ms(now_ms))),
        };
        if !self.follow {
            builder = builder.until_end();
        }
        match left {
            Some(left) => builder.max_records(left),
            None => builder,
        }
    }
}

/// A consume under way.
struct Run<'a> {
    args: &'a ConsumeArgs,
    connection: Connection,
    interrupt: Interrupt,
    renderer: Renderer,
    out: Output,
    /// Records that may still be written.
    left: Option<u64>,
}

impl Run<'_> {
    async fn all(&mut self, partitions: Vec<u32>) -> Result<(), Failure> {
        self.renderer.begin(&mut self.out)?;
        let read = if self.args.is_empty() { Ok(()) } else { self.partitions(partitions).await };
        // What was read is good, whatever came after it.
        self.renderer.end(&mut self.out)?;
        self.out.flush()?;
        read
    }

    async fn partitions(&mut self, partitions: Vec<u32>) -> Result<(), Failure> {
        if self.args.follow {
            return self.read(partitions).await;
        }
        for partition in partitions {
            if self.left == Some(0) {
                break;
            }
            self.read(vec![partition]).await?;
        }
        Ok(())
    }

    /// Reads partitions together, to their ends.
    async fn read(&mut self, partitions: Vec<u32>) -> Result<(), Failure> {
        let consumer = self.args.builder(&self.connection, partitions, self.left).build().await;
        let mut consumer = consumer.map_err(|error| self.failure(&error))?;
        while let Some(batch) = self.next(&mut consumer).await? {
            self.write(&batch)?;
        }
        Ok(())
    }

    /// The next batch. What was written is handed on before it is waited for.
    async fn next(&mut self, consumer: &mut Consumer) -> Result<Option<ConsumedBatch>, Failure> {
        if self.interrupt.asked() {
            return Err(Failure::quiet(Exit::Interrupted));
        }
        if let Some(batch) = consumer.next_batch().now_or_never() {
            return batch.map_err(|error| self.failure(&error));
        }
        self.out.flush()?;
        let idle = tokio::time::sleep(self.args.idle_timeout.unwrap_or(Duration::MAX));
        tokio::select! {
            biased;
            () = self.interrupt.wait() => Err(Failure::quiet(Exit::Interrupted)),
            batch = consumer.next_batch() => batch.map_err(|error| self.failure(&error)),
            () = idle => {
                let idle = crate::units::human_duration(self.args.idle_timeout.unwrap_or_default());
                Err(Failure::new(Exit::Timeout, format!("no record came to topic {} for {idle}", self.args.topic)))
            }
        }
    }

    fn write(&mut self, batch: &ConsumedBatch) -> Result<(), Failure> {
        let mut written = Ok(());
        let (renderer, out) = (&mut self.renderer, &mut self.out);
        let (partition, append_time_ms) = (batch.partition, batch.append_time.get());
        let each = batch.for_each(&Limits::default(), |record| {
            if written.is_ok() {
                written = renderer.record(out, Seen { partition, append_time_ms, record });
            }
        });
        written?;
        each.map_err(|error| self.failure(&error))?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(batch.wanted_records());
        }
        Ok(())
    }

    fn failure(&self, error: &ClientError) -> Failure {
        self.connection.fail(format!("read topic {}", self.args.topic), error)
    }
}

/// An offset of the command line; beyond the greatest there is, that one.
fn offset_of(offset: u64) -> Offset {
    Offset::new(offset.min(Offset::MAX.get()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! `varve bench`.

mod load;
mod measure;

use clap::Args;
use varve_api::TopicName;
use varve_api::v1::CreateTopicRequest;
use varve_record::Compression;

use self::load::Load;
use self::measure::Measured;
use crate::cli::{Connect, Verbosity, topic_name};
use crate::commands::connection::Connection;
use crate::commands::produce::AcksArg;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Format, Output, no_raw};
use crate::table::Table;
use crate::units::parse_bytes;

const AFTER_HELP: &str = "\
Three measurements on a topic of its own, which is deleted afterwards: one record at a time, each
acknowledged before the next is sent; pipelined, as fast as the server takes them; and reading them
back. Client and server share the machine if they run on one.

Examples:
  varve bench
  varve bench --records 1000000 --size 100 --producers 4 -o json";

/// What `bench` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    /// Records that are sent pipelined and read back
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Records that are sent one at a time
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    singles: u64,
    /// Bytes of a record's value
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    size: u64,
    /// Bytes of records in a batch
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_bytes)]
    batch: u64,
    /// Producers that send at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    producers: u32,
    /// When a record counts as appended: quorum, leader or none
    #[arg(long, value_enum, default_value_t = AcksArg::Quorum, hide_possible_values = true)]
    acks: AcksArg,
    /// How batches are compressed: none, lz4, zstd, snappy or gzip
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none")]
    compression: Compression,
    /// Partitions of the topic
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
    /// Topic to use, and to keep, instead of one of its own
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    topic: Option<TopicName>,
    /// How to write the figures
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = no_raw())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Measures and tells.
pub(crate) async fn run(args: BenchArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let mut interrupt = Interrupt::install(1)?;
    let connection = Connection::open(&args.connect).await?;
    let topic = match &args.topic {
        Some(topic) => topic.clone(),
        None => make_topic(&args, &connection).await?,
    };
    let load = Load::new(&args, topic.clone(), connection.clone());
    let measured = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Failure::quiet(Exit::Interrupted)),
        measured = load.measure(verbosity) => measured,
    };
    if args.topic.is_none()
        && let Err(error) = connection.client.delete_topic(topic.as_str()).await
    {
        eprintln!("topic {topic} could not be deleted: {error}");
    }
    write(args.output, &measured?)
}

async fn make_topic(args: &BenchArgs, connection: &Connection) -> Result<TopicName, Failure> {
    let name = format!("varve-bench-{}", std::process::id());
    let request =
        CreateTopicRequest { name: name.clone(), partitions: args.partitions, ..Default::default() };
    let made = connection.client.create_topic(request).await;
    made.map_err(|error| connection.fail(format!("create topic {name}"), &error))?;
    topic_name(&name).map_err(|problem| Failure::new(Exit::General, problem))
}

fn write(format: Format, measured: &[Measured]) -> Result<(), Failure> {
    let mut out = Output::new();
    match format {
        Format::Json => out.json(&measured, true)?,
        Format::Jsonl => measured.iter().try_for_each(|row| out.json(row, false))?,
        Format::Table | Format::Raw => {
            let mut table = Table::new(&measure::COLUMNS);
            measured.iter().for_each(|row| table.row(row.cells()));
            table.write(&mut out)?;
        }
    }
    out.flush()
}

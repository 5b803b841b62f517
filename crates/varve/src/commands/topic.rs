//! `varve topic`.

mod describe;
mod leaders;
mod settings;

use std::io::{BufRead, Write, stderr, stdin};

use clap::{Args, Subcommand};
use varve_api::TopicName;
use varve_api::v1::{AlterTopicRequest, CreateTopicRequest};

use self::describe::Description;
use self::settings::SettingArgs;
use crate::cli::{Connect, Verbosity, topic_name};
use crate::commands::connection::Connection;
use crate::config::REPLICATION_FACTOR_MAX;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, any_format, no_raw};
use crate::table::Table;
use crate::terminal::{stderr_is_terminal, stdin_is_terminal};

/// The commands about topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Make a topic
    #[command(
        after_help = "Example:\n  varve topic create events --partitions 4 --replication-factor 3 --retention-age 7d"
    )]
    Create(CreateArgs),
    /// List the topics (-o raw: the bare names)
    List(ListArgs),
    /// Show settings, partitions and offsets of a topic
    Describe(DescribeArgs),
    /// Change settings, or add partitions
    #[command(after_help = "Example:\n  varve topic alter events --retention-bytes 10GiB")]
    Alter(AlterArgs),
    /// Delete a topic with all its records; there is no way back
    Delete(DeleteArgs),
    /// Give up the oldest records of a partition; there is no way back
    #[command(after_help = "Example:\n  varve topic trim events --before 100000")]
    Trim(TrimArgs),
}

/// What `topic create` takes.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name: 1 to 249 letters, digits, '.', '_' and '-'
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// Number of partitions [default: the server's]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Number of replicas, 1 to 7; while there are fewer servers it has fewer [default: the server's]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(REPLICATION_FACTOR_MAX)))]
    replication_factor: Option<u32>,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    connect: Connect,
}

/// What `topic list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How to write them
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = any_format())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

/// What `topic describe` takes.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Topic
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = no_raw())]
    output: Format,
    #[command(flatten)]
    connect: Connect,
}

/// What `topic alter` takes.
#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// Topic
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// New number of partitions; never fewer. Keys may go to other partitions from then on
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    connect: Connect,
}

/// What `topic delete` takes.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Topic
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    connect: Connect,
}

/// What `topic trim` takes.
#[derive(Debug, Args)]
pub(crate) struct TrimArgs {
    /// Topic
    #[arg(value_parser = topic_name)]
    topic: TopicName,
    /// First offset to keep
    #[arg(long, value_name = "OFFSET")]
    before: u64,
    /// Partition
    #[arg(short = 'P', long, value_name = "N", default_value_t = 0)]
    partition: u32,
    #[command(flatten)]
    connect: Connect,
}

/// Runs one of them.
pub(crate) async fn run(command: TopicCommand, verbosity: Verbosity) -> Result<(), Failure> {
    match command {
        TopicCommand::Create(args) => create(args, verbosity).await,
        TopicCommand::List(args) => list(args).await,
        TopicCommand::Describe(args) => describe(args).await,
        TopicCommand::Alter(args) => alter(args, verbosity).await,
        TopicCommand::Delete(args) => delete(args, verbosity).await,
        TopicCommand::Trim(args) => trim(args, verbosity).await,
    }
}

async fn create(args: CreateArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let request = CreateTopicRequest {
        name: args.topic.to_string(),
        partitions: args.partitions.unwrap_or(0),
        replication_factor: args.replication_factor.unwrap_or(0),
        settings: Some(args.settings.to_proto()),
    };
    let made = connection.client.create_topic(request).await;
    let made = made.map_err(|error| connection.fail(format!("create topic {}", args.topic), &error))?;
    let count = partitions(made.partitions.len());
    let without = leaders::wait(&connection.client, made, verbosity).await;
    verbosity.say(&format!("created topic {} ({count})", args.topic));
    if without > 0 {
        verbosity
            .say(&format!("{} without a leader so far: see `varve cluster health`", partitions(without)));
    }
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let topics =
        connection.client.list_topics().await.map_err(|error| connection.fail("list topics", &error))?;
    let mut out = Output::new();
    let rows: Vec<_> = topics.iter().map(describe::ListRow::new).collect();
    match args.output {
        Format::Json => out.json(&rows, true)?,
        Format::Jsonl => rows.iter().try_for_each(|row| out.json(row, false))?,
        Format::Raw => topics.iter().try_for_each(|topic| out.line(&topic.name))?,
        Format::Table => {
            let mut table = Table::new(&["TOPIC", "PARTITIONS#"]);
            topics.iter().for_each(|topic| table.row([topic.name.clone(), topic.partitions.to_string()]));
            table.write(&mut out)?;
        }
    }
    out.flush()
}

async fn describe(args: DescribeArgs) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let topic = connection.topic(&args.topic).await?;
    let servers = connection.client.servers().await;
    let servers = servers.map_err(|error| connection.fail("ask for the servers", &error))?.servers;
    let description = Description::new(&topic, &servers);
    let mut out = Output::new();
    match args.output {
        Format::Json => out.json(&description, true)?,
        Format::Jsonl => out.json(&description, false)?,
        Format::Table | Format::Raw => description.write(&mut out)?,
    }
    out.flush()
}

async fn alter(args: AlterArgs, verbosity: Verbosity) -> Result<(), Failure> {
    if args.partitions.is_none() && args.settings.is_empty() {
        return Err(
            Failure::usage("nothing to change").hint("name a setting: see `varve topic alter --help`")
        );
    }
    let connection = Connection::open(&args.connect).await?;
    let request = AlterTopicRequest {
        name: args.topic.to_string(),
        settings: Some(args.settings.to_proto()),
        partitions: args.partitions,
    };
    if let Err(error) = connection.client.alter_topic(request).await {
        return Err(connection.fail_topic(format!("alter topic {}", args.topic), &args.topic, &error).await);
    }
    verbosity.say(&format!("altered topic {}", args.topic));
    Ok(())
}

async fn delete(args: DeleteArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let can_ask = stdin_is_terminal() && stderr_is_terminal();
    if !args.yes && !can_ask {
        let failure = Failure::usage(format!("topic {} was not deleted: there is nobody to ask", args.topic));
        return Err(failure.hint("add --yes to delete it without being asked"));
    }
    let connection = Connection::open(&args.connect).await?;
    let topic = connection.topic(&args.topic).await?;
    if !args.yes && !confirmed(&Description::new(&topic, &[]))? {
        return Err(Failure::new(Exit::General, format!("topic {} was kept", args.topic)));
    }
    if let Err(error) = connection.client.delete_topic(args.topic.as_str()).await {
        return Err(connection.fail_topic(format!("delete topic {}", args.topic), &args.topic, &error).await);
    }
    verbosity.say(&format!("deleted topic {}", args.topic));
    Ok(())
}

async fn trim(args: TrimArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let (topic, partition) = (&args.topic, args.partition);
    match connection.client.trim_topic(topic.as_str(), partition, args.before).await {
        Ok(start) => {
            verbosity.say(&format!("topic {topic} partition {partition} starts at offset {start} now"));
            Ok(())
        }
        Err(error) => Err(connection.fail_topic(format!("trim topic {topic}"), topic, &error).await),
    }
}

/// Asks on the terminal; only the topic's name means yes.
fn confirmed(topic: &Description) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::General, format!("cannot ask: {error}"));
    eprint!("delete {} for ever? write its name: ", topic.summary());
    stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim() == topic.name())
}

/// "1 partition", "4 partitions".
fn partitions(count: usize) -> String {
    if count == 1 { "1 partition".into() } else { format!("{count} partitions") }
}

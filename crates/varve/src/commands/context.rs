//! `varve context`.

use clap::{Args, Subcommand};
use serde::Serialize;
use varve_client::ClusterAddress;

use crate::cli::Verbosity;
use crate::context::{Context, ContextFile, ContextName, Contexts, SERVER_VARIABLE};
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, any_format, table_or_json};
use crate::table::Table;
use crate::tls::{TlsArgs, TlsSettings};

/// The commands about contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Give a cluster a name
    #[command(
        after_help = "Example:\n  varve context create prod --server varve://10.0.0.1:8400,10.0.0.2:8400 \\\n    --tls-ca-file ca.pem --tls-cert-file alice.pem --tls-key-file alice-key.pem --use"
    )]
    Create(CreateArgs),
    /// Select the context that commands use
    Use(UseArgs),
    /// List the contexts (-o raw: the bare names)
    List(ListArgs),
    /// Show a context
    Show(ShowArgs),
    /// Delete a context; the cluster is left alone
    Delete(DeleteArgs),
}

/// What `context create` takes.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name: 1 to 64 letters, digits, '.', '_' and '-'
    name: ContextName,
    // No doc comment: rustdoc takes the brackets for a link.
    #[arg(help = "The cluster: any of its servers, as varve://HOST:PORT[,HOST:PORT]")]
    #[arg(short, long, value_name = "ADDRESS", value_parser = address)]
    server: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Select it, too
    #[arg(long = "use")]
    select: bool,
    /// Write over a context of that name
    #[arg(long)]
    overwrite: bool,
}

/// What `context use` takes.
#[derive(Debug, Args)]
pub(crate) struct UseArgs {
    /// Name
    #[arg(required_unless_present = "none")]
    name: Option<ContextName>,
    /// Select none: commands go to 127.0.0.1:8400 again
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

/// What `context list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How to write them
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = any_format())]
    output: Format,
}

/// What `context show` takes.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Name [default: the selected one]
    name: Option<ContextName>,
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
}

/// What `context delete` takes.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Name
    name: ContextName,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a ContextName,
    server: &'a str,
    selected: bool,
    tls: Option<&'a TlsSettings>,
}

impl<'a> Row<'a> {
    fn new(contexts: &Contexts, (name, context): (&'a ContextName, &'a Context)) -> Self {
        let (server, tls) = (context.server.as_str(), context.tls.as_ref());
        Self { name, server, selected: contexts.is_selected(name), tls }
    }
}

/// Runs one of them.
pub(crate) fn run(command: ContextCommand, verbosity: Verbosity) -> Result<(), Failure> {
    let file = ContextFile::required()?;
    match command {
        ContextCommand::Create(args) => create(&file, args, verbosity),
        ContextCommand::Use(args) => select(&file, args.name, verbosity),
        ContextCommand::List(args) => list(&file.read()?, args.output),
        ContextCommand::Show(args) => show(&file.read()?, args),
        ContextCommand::Delete(args) => delete(&file, &args.name, verbosity),
    }
}

fn create(file: &ContextFile, args: CreateArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let name = args.name.clone();
    let tls = args.tls.complete()?.map(TlsSettings::absolute).transpose()?;
    // What cannot be read now would be found out by another command, in another place.
    tls.as_ref().map(TlsSettings::open).transpose()?;
    file.change(|contexts| {
        if contexts.find(&name).is_some() && !args.overwrite {
            let failure = Failure::new(Exit::Precondition, format!("there is a context {name} already"));
            return Err(failure.hint("add --overwrite to write over it"));
        }
        contexts.put(name.clone(), Context::new(args.server, tls));
        if args.select { contexts.select(Some(name.clone())) } else { Ok(()) }
    })?;
    if args.select {
        verbosity.say(&format!("created and selected context {name}"));
        note_variable(verbosity);
    } else {
        verbosity.say(&format!("created context {name}; `varve context use {name}` selects it"));
    }
    Ok(())
}

fn select(file: &ContextFile, name: Option<ContextName>, verbosity: Verbosity) -> Result<(), Failure> {
    file.change(|contexts| contexts.select(name.clone()))?;
    match name {
        Some(name) => verbosity.say(&format!("selected context {name}")),
        None => verbosity.say("selected no context"),
    }
    note_variable(verbosity);
    Ok(())
}

fn list(contexts: &Contexts, format: Format) -> Result<(), Failure> {
    let rows: Vec<Row<'_>> = contexts.iter().map(|context| Row::new(contexts, context)).collect();
    let mut out = Output::new();
    match format {
        Format::Json => out.json(&rows, true)?,
        Format::Jsonl => rows.iter().try_for_each(|row| out.json(row, false))?,
        Format::Raw => rows.iter().try_for_each(|row| out.line(row.name.as_str()))?,
        Format::Table => {
            let mut table = Table::new(&["NAME", "SELECTED", "SERVER", "CERTIFICATE"]);
            let mark = |selected| if selected { "*" } else { "" };
            rows.iter().for_each(|row| {
                let certificate = row.tls.map_or_else(String::new, |tls| tls.cert_file.display().to_string());
                let cells = [row.name.as_str(), mark(row.selected), row.server, certificate.as_str()];
                table.row(cells.map(Into::into))
            });
            table.write(&mut out)?;
        }
    }
    out.flush()
}

fn show(contexts: &Contexts, args: ShowArgs) -> Result<(), Failure> {
    let found = match &args.name {
        Some(name) => (name, contexts.get(name)?),
        None => contexts.selected().ok_or_else(|| {
            let failure = Failure::new(Exit::NotFound, "no context is selected");
            failure.hint("`varve context use NAME` selects one, `varve context list` shows them")
        })?,
    };
    let row = Row::new(contexts, found);
    let mut out = Output::new();
    if args.output == Format::Json {
        out.json(&row, true)?;
    } else {
        let selected = if row.selected { " (selected)" } else { "" };
        out.line(&format!("context {}{selected}", row.name))?;
        out.line(&format!("server  {}", row.server))?;
        if let Some(tls) = row.tls {
            out.line(&format!("ca      {}", tls.ca_file.display()))?;
            out.line(&format!("cert    {}", tls.cert_file.display()))?;
            out.line(&format!("key     {}", tls.key_file.display()))?;
            tls.server_name.iter().try_for_each(|name| out.line(&format!("name    {name}")))?;
        }
    }
    out.flush()
}

fn delete(file: &ContextFile, name: &ContextName, verbosity: Verbosity) -> Result<(), Failure> {
    let was_selected = file.change(|contexts| contexts.remove(name))?;
    let now_none = if was_selected { "; none is selected now" } else { "" };
    verbosity.say(&format!("deleted context {name}{now_none}"));
    Ok(())
}

/// Says so where the selection has no effect in this shell.
fn note_variable(verbosity: Verbosity) {
    if let Some(server) = std::env::var(SERVER_VARIABLE).ok().filter(|server| !server.is_empty()) {
        verbosity.say(&format!("note: {SERVER_VARIABLE} is set to {server} here, and wins over the context"));
    }
}

fn address(text: &str) -> Result<String, String> {
    text.parse::<ClusterAddress>().map(|address| address.to_string()).map_err(|error| error.to_string())
}

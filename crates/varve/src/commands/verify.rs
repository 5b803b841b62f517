//! `varve verify`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use varve_env::Env;
use varve_storage::{Finding, OpenError, Severity, Summary, verify};

use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, no_raw};
use crate::terminal::{one_line, stderr_is_terminal};
use crate::units::{human_bytes, human_count};

const AFTER_HELP: &str = "\
Reads every file of the directory and changes nothing. Ends with 0 if all is well, 9 if something that
was durable cannot be read; each finding names its file and position. What it calls rebuilt or note is
mended by the next start. The server must be stopped.

Example:
  varve verify /var/lib/varve";

const TICK: Duration = Duration::from_millis(200);

/// What `verify` takes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct VerifyArgs {
    /// The data directory
    dir: PathBuf,
    /// How to write what is found
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = no_raw())]
    output: Format,
}

#[derive(Debug, Serialize)]
struct FoundJson {
    severity: &'static str,
    file: String,
    position: u64,
    what: String,
}

#[derive(Debug, Serialize)]
struct SummaryJson {
    partitions: u64,
    segments: u64,
    entries: u64,
    records: u64,
    bytes: u64,
    damaged: u64,
}

#[derive(Debug, Serialize)]
struct ReportJson {
    findings: Vec<FoundJson>,
    summary: SummaryJson,
}

/// Checks, and says what was found.
pub(crate) fn run(args: &VerifyArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let spinner = spinner(&args.dir, verbosity);
    let mut findings = Vec::new();
    let checked = verify(&*Env::real().disk, &args.dir, &mut |finding| findings.push(found(finding)));
    spinner.finish_and_clear();
    let summary = checked.map_err(|error| failure(&args.dir, &error))?;
    let damaged = summary.damaged;
    if !verbosity.quiet {
        say(&args.dir, &summary);
    }
    write(args.output, ReportJson { findings, summary: summary_json(summary) })?;
    match damaged {
        0 => Ok(()),
        _ => {
            let message = format!("{} is damaged in {} places", args.dir.display(), human_count(damaged));
            let hint = "keep a copy of it; what is sound can still be read, damage is never served";
            Err(Failure::new(Exit::Unhealthy, message).hint(hint))
        }
    }
}

fn spinner(dir: &Path, verbosity: Verbosity) -> ProgressBar {
    if verbosity.quiet || !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} checking {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.set_message(dir.display().to_string());
    spinner.enable_steady_tick(TICK);
    spinner
}

fn found(finding: Finding) -> FoundJson {
    let severity = match finding.severity {
        Severity::Damage => "damage",
        Severity::Rebuilt => "rebuilt",
        Severity::Note => "note",
    };
    FoundJson {
        severity,
        file: finding.file.display().to_string(),
        position: finding.position,
        what: finding.what,
    }
}

fn summary_json(summary: Summary) -> SummaryJson {
    let Summary { partitions, segments, entries, records, bytes, damaged } = summary;
    SummaryJson { partitions, segments, entries, records, bytes, damaged }
}

fn say(dir: &Path, summary: &Summary) {
    eprintln!(
        "checked {}: {} partitions, {} segments, {} records ({})",
        dir.display(),
        human_count(summary.partitions),
        human_count(summary.segments),
        human_count(summary.records),
        human_bytes(summary.bytes),
    );
}

fn write(format: Format, report: ReportJson) -> Result<(), Failure> {
    let mut out = Output::new();
    match format {
        Format::Json => out.json(&report, true)?,
        Format::Jsonl => report.findings.iter().try_for_each(|finding| out.json(finding, false))?,
        Format::Table | Format::Raw => {
            for found in &report.findings {
                let FoundJson { severity, file, position, what } = found;
                out.line(&one_line(&format!("{severity}: {file} at {position}: {what}")))?;
            }
        }
    }
    out.flush()
}

fn failure(dir: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Locked { .. } => {
            let failure = Failure::new(Exit::Precondition, format!("a server has {} open", dir.display()));
            failure.hint("stop it first: what it writes meanwhile would look like damage")
        }
        OpenError::File(file) if file.kind() == io::ErrorKind::NotFound => Failure::new(
            Exit::NotFound,
            format!("{} is no data directory: there is no {}", dir.display(), file.path.display()),
        ),
        _ => Failure::new(Exit::General, error.to_string()),
    }
}

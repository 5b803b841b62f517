//! `varve cert show`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use serde::Serialize;
use varve_cert::{
    Description, DirectoryError, Finding, InspectError, Inspected, ListDescription, NodeUri, Role, inspect,
};

use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, no_raw};
use crate::terminal::one_line;
use crate::time::format_time;

pub(super) const AFTER_HELP: &str = "\
Shows what certificates and lists of revocations say. Private keys among several files are passed
over. Ends with 9 if one of them cannot be used: because it has ended, for instance, or names nobody.

Examples:
  varve cert show certs/node-1.pem
  varve cert show certs/*.pem -o jsonl";

/// What `cert show` takes.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Files with certificates or lists of revocations (PEM)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = no_raw())]
    output: Format,
}

#[derive(Debug, Default, Serialize)]
struct ShownJson {
    file: String,
    /// `authority`, `node`, `server`, `client`, `other` or `revocations`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    issuer: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    not_before: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<usize>,
    problems: Vec<String>,
    warnings: Vec<String>,
    /// What it is, for people.
    #[serde(skip)]
    title: String,
}

/// Shows certificates.
pub(super) fn run(args: &ShowArgs) -> Result<(), Failure> {
    let now = SystemTime::now();
    let mut shown = Vec::new();
    for file in &args.files {
        let text = varve_cert::read(file).map_err(|error| read_failure(file, &error))?;
        match inspect(&text, now) {
            Ok(found) => shown.extend(found.into_iter().map(|found| ShownJson::of(file, found))),
            // `certs/*.pem` names the keys too.
            Err(InspectError::PrivateKey) if args.files.len() > 1 => {}
            Err(error) => return Err(Failure::usage(format!("{}: {error}", file.display()))),
        }
    }
    let bad = shown.iter().filter(|shown| !shown.problems.is_empty()).count();
    write(&shown, args.output)?;
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Unhealthy, "one of them cannot be used")),
        _ => Err(Failure::new(Exit::Unhealthy, format!("{bad} of them cannot be used"))),
    }
}

/// What is said when a file cannot be read.
pub(super) fn read_failure(file: &Path, error: &DirectoryError) -> Failure {
    match error {
        DirectoryError::Read { source, .. } => Failure::file("read", file.display(), source),
        _ => Failure::usage(error.to_string()),
    }
}

impl ShownJson {
    fn of(file: &Path, found: Inspected) -> Self {
        let file = file.display().to_string();
        match found {
            Inspected::Certificate(description) => Self::certificate(file, *description),
            Inspected::Revocations(list) => Self::revocations(file, &list),
        }
    }

    fn certificate(file: String, description: Description) -> Self {
        let (warnings, problems): (Vec<_>, Vec<_>) =
            description.findings.iter().partition(|finding| finding.is_warning());
        let said = |findings: Vec<&Finding>| findings.into_iter().map(ToString::to_string).collect();
        let (kind, node) = kind(&description.role);
        Self {
            file,
            kind,
            title: description.role.to_string(),
            subject: description.subject.map(|subject| subject.to_string()),
            cluster: node.map(|node| node.cluster.to_string()),
            node: node.map(|node| node.node.to_string()),
            name: Some(description.name),
            issuer: description.issuer,
            addresses: description.addresses,
            not_before: format_time(description.not_before.unix_timestamp() * 1000),
            not_after: Some(format_time(description.not_after.unix_timestamp() * 1000)),
            serial: Some(description.serial),
            fingerprint_sha256: Some(description.fingerprint),
            key: Some(description.key),
            revoked: None,
            problems: said(problems),
            warnings: said(warnings),
        }
    }

    fn revocations(file: String, list: &ListDescription) -> Self {
        let ended =
            "it has ended, so that servers refuse everyone by it: write it anew with `varve cert revoke`";
        let endless = "it does not say until when it is good";
        Self {
            file,
            kind: "revocations",
            title: format!("list of {} revoked certificates", list.revoked),
            issuer: list.issuer.clone(),
            not_before: format_time(list.made.unix_timestamp() * 1000),
            not_after: list.until.map(|until| format_time(until.unix_timestamp() * 1000)),
            revoked: Some(list.revoked),
            problems: if list.has_ended { vec![ended.to_owned()] } else { Vec::new() },
            warnings: if list.until.is_none() { vec![endless.to_owned()] } else { Vec::new() },
            ..Self::default()
        }
    }

    /// Lines for people: a name and what it is.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.file, self.title)];
        let mut line = |name: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                lines.push(format!("  {name:<12} {value}"));
            }
        };
        let until = self.not_after.as_deref().map(|until| format!("{} to {until}", self.not_before));
        line("subject", self.subject.as_deref());
        line("name", self.name.as_deref());
        line("issuer", Some(&self.issuer));
        line("addresses", Some(&self.addresses.join(", ")));
        line("valid", until.as_deref());
        line("key", self.key.as_deref());
        line("serial", self.serial.as_deref());
        line("sha-256", self.fingerprint_sha256.as_deref());
        lines.extend(self.problems.iter().map(|problem| format!("  problem: {problem}")));
        lines.extend(self.warnings.iter().map(|warning| format!("  warning: {warning}")));
        lines
    }
}

fn kind(role: &Role) -> (&'static str, Option<&NodeUri>) {
    match role {
        Role::Authority => ("authority", None),
        Role::Node(node) => ("node", Some(node)),
        Role::Server => ("server", None),
        Role::Client => ("client", None),
        Role::Other => ("other", None),
    }
}

fn write(shown: &[ShownJson], format: Format) -> Result<(), Failure> {
    let mut out = Output::new();
    match format {
        Format::Json => out.json(&shown, true)?,
        Format::Jsonl => shown.iter().try_for_each(|shown| out.json(shown, false))?,
        Format::Table | Format::Raw => {
            for line in shown.iter().flat_map(ShownJson::lines) {
                out.line(&one_line(&line))?;
            }
        }
    }
    out.flush()
}

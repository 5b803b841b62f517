//! `varve acl list`.

use clap::Args;
use serde::Serialize;
use varve_authz::{Applicable, Policy};

use super::PolicyArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, no_raw};
use crate::suggest::nearest;
use crate::table::Table;

pub(super) const AFTER_HELP: &str = "\
VIA is the role through which a rule is about the subject, or '*' where it is about anyone. A deny
outweighs whatever allows.

Examples:
  varve acl list --policy-file policy.csv
  varve acl list alice --policy-file policy.csv -o json";

/// What `acl list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this subject
    subject: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// How to write them
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = no_raw())]
    output: Format,
}

#[derive(Debug, Serialize)]
struct RuleJson {
    subject: String,
    effect: &'static str,
    action: &'static str,
    object: String,
    /// The role, or `*`.
    via: Option<String>,
    line: usize,
}

/// Lists the rules by subject.
pub(super) fn run(args: &ListArgs) -> Result<(), Failure> {
    let policy = args.policy.load()?;
    let subjects = match &args.subject {
        Some(subject) => vec![known(subject, &policy)?],
        None => policy.subjects(),
    };
    let about = |subject: &str| {
        let rules = policy.rules_about(subject).into_iter();
        rules.map(|rule| RuleJson::of(subject, rule)).collect::<Vec<_>>()
    };
    let rules: Vec<RuleJson> = subjects.into_iter().flat_map(about).collect();
    let mut out = Output::new();
    match args.output {
        Format::Json => out.json(&rules, true)?,
        Format::Jsonl => rules.iter().try_for_each(|rule| out.json(rule, false))?,
        Format::Table | Format::Raw => table(&rules).write(&mut out)?,
    }
    out.flush()
}

fn known<'a>(subject: &'a str, policy: &Policy) -> Result<&'a str, Failure> {
    if !policy.rules_about(subject).is_empty() {
        return Ok(subject);
    }
    let failure = Failure::new(Exit::NotFound, format!("no rule of {} is about {subject:?}", policy.file()));
    Err(match nearest(subject, policy.subjects()) {
        Some(meant) => failure.hint(format!("did you mean {meant:?}?")),
        None => failure,
    })
}

impl RuleJson {
    fn of(subject: &str, Applicable { rule, via }: Applicable) -> Self {
        Self {
            subject: subject.to_owned(),
            effect: rule.effect.as_str(),
            action: rule.action_word(),
            object: rule.object.clone(),
            via,
            line: rule.line,
        }
    }
}

fn table(rules: &[RuleJson]) -> Table {
    let mut table = Table::new(&["SUBJECT", "EFFECT", "ACTION", "OBJECT", "VIA", "LINE#"]);
    for rule in rules {
        table.row([
            rule.subject.clone(),
            rule.effect.to_owned(),
            rule.action.to_owned(),
            rule.object.clone(),
            rule.via.clone().unwrap_or_else(|| "-".to_owned()),
            rule.line.to_string(),
        ]);
    }
    table
}

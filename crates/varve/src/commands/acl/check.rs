//! `varve acl check`.

use clap::Args;
use serde::Serialize;
use varve_authz::{Action, Basis, Decision, Policy};

use super::{ObjectArg, PolicyArgs, action};
use crate::failure::{Exit, Failure};
use crate::output::{Format, Output, table_or_json};
use crate::terminal::one_line;

pub(super) const AFTER_HELP: &str = "\
Ends with 0 if it is allowed, and with 4 if it is denied. The subject is what a certificate names:
its URI, or else its common name; `varve cert show` tells it.

Examples:
  varve acl check alice logs-web produce --policy-file policy.csv
  varve acl check root '*' admin --policy-file policy.csv --model-file model.conf";

/// What `acl check` takes.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Who
    subject: String,
    /// To what: a topic, or '*' for the cluster as a whole
    #[arg(value_parser = ObjectArg::parse)]
    topic: ObjectArg,
    /// Does what
    #[arg(value_parser = action())]
    action: Action,
    #[command(flatten)]
    policy: PolicyArgs,
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
}

#[derive(Debug, Serialize)]
struct DecisionJson<'a> {
    subject: &'a str,
    object: &'a str,
    action: &'static str,
    allowed: bool,
    reason: String,
    rule: Option<RuleJson<'a>>,
}

#[derive(Debug, Serialize)]
struct RuleJson<'a> {
    file: &'a str,
    line: usize,
    text: &'a str,
}

/// Decides, and says by what.
pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let policy = args.policy.load()?;
    let decision = policy.decide(&args.subject, args.topic.as_object(), args.action);
    let mut out = Output::new();
    if args.output == Format::Json {
        out.json(&json(args, &decision), true)?;
    } else {
        let verdict = if decision.allowed { "allowed" } else { "denied" };
        out.line(&one_line(&format!("{verdict}: {}", decision.basis)))?;
    }
    out.flush()?;
    if decision.allowed { Ok(()) } else { Err(denied(args, &decision, &policy)) }
}

/// A subject that is written in another way is the usual reason why no rule is found.
fn denied(args: &CheckArgs, decision: &Decision, policy: &Policy) -> Failure {
    let CheckArgs { subject, topic, action, .. } = args;
    let failure = Failure::new(Exit::Auth, format!("{subject:?} may not {action} on {}", topic.as_object()));
    let Basis::NoRule { .. } = decision.basis else { return failure };
    match policy.rules_about(subject).len() {
        0 => failure.hint("no rule is about that subject; `varve acl list` shows those that there are"),
        _ => failure.hint(format!("`varve acl list {subject:?}` shows what it may")),
    }
}

fn json<'a>(args: &'a CheckArgs, decision: &'a Decision) -> DecisionJson<'a> {
    let rule = decision.rule().map(|rule| RuleJson { file: &rule.file, line: rule.line, text: &rule.text });
    DecisionJson {
        subject: &args.subject,
        object: args.topic.as_str(),
        action: args.action.as_str(),
        allowed: decision.allowed,
        reason: decision.basis.to_string(),
        rule,
    }
}

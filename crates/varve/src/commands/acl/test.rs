//! `varve acl test`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use varve_authz::{Action, Effect, POLICY_FILE_BYTES_MAX, Policy};

use super::{ObjectArg, PolicyArgs};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::terminal::one_line;

pub(super) const AFTER_HELP: &str = "\
Each line of the file says what is expected: SUBJECT, TOPIC, ACTION, allow or deny; '#' begins a
comment. Ends with 1 if a decision is another, and shows those with what decided them.

Example:
  varve acl test expected.csv --policy-file policy.csv

where expected.csv holds
  alice, logs-web, produce, allow
  alice, payments, produce, deny";

const LINE_FORM: &str = "write `SUBJECT, TOPIC, ACTION, allow` (or deny)";

/// What `acl test` takes.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// What is expected
    file: PathBuf,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// A line of the file.
#[derive(Debug)]
struct Expectation<'a> {
    line: usize,
    subject: &'a str,
    object: ObjectArg,
    action: Action,
    effect: Effect,
}

/// Compares decisions with what is expected.
pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    let policy = args.policy.load()?;
    let text = read(&args.file)?;
    let expected = expectations(&text).map_err(|(line, problem)| {
        Failure::usage(format!("{}, line {line}: {problem}", args.file.display()))
    })?;
    if expected.is_empty() {
        return Err(Failure::usage(format!("{} expects nothing: {LINE_FORM}", args.file.display())));
    }
    let differences: Vec<String> =
        expected.iter().filter_map(|expected| difference(expected, &policy)).collect();
    let mut out = Output::new();
    for difference in &differences {
        out.line(&one_line(&format!("{}, line {difference}", args.file.display())))?;
    }
    out.flush()?;
    match differences.len() {
        0 => Ok(()),
        wrong => {
            let message = format!("{wrong} of {} decisions are not as expected", expected.len());
            Err(Failure::new(Exit::General, message))
        }
    }
}

fn difference(expected: &Expectation<'_>, policy: &Policy) -> Option<String> {
    let Expectation { line, subject, object, action, effect } = expected;
    let decision = policy.decide(subject, object.as_object(), *action);
    if decision.allowed == (*effect == Effect::Allow) {
        return None;
    }
    let is = if decision.allowed { "allowed" } else { "denied" };
    Some(format!("{line}: {subject}, {}, {action} is {is}: {}", object.as_str(), decision.basis))
}

fn expectations(text: &str) -> Result<Vec<Expectation<'_>>, (usize, String)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(number, line)| expectation(number, line).map_err(|problem| (number, problem))).collect()
}

fn expectation(number: usize, line: &str) -> Result<Expectation<'_>, String> {
    // From the end: a subject may hold commas.
    let mut fields = line.rsplitn(4, ',').map(str::trim);
    let (Some(effect), Some(action), Some(object), Some(subject)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(LINE_FORM.to_owned());
    };
    let effect = match effect {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        _ => return Err(format!("{effect:?} is no effect: use allow or deny")),
    };
    let object = ObjectArg::parse(object).map_err(|problem| format!("{object:?} is no topic: {problem}"))?;
    let action = action.parse::<Action>().map_err(|error| error.to_string())?;
    Ok(Expectation { line: number, subject: subject.trim_matches('"'), object, action, effect })
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::file("read", path.display(), &error);
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(POLICY_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > POLICY_FILE_BYTES_MAX {
        return Err(Failure::usage(format!("{} is too large: split it", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_from_their_end() {
        let read =
            expectations("# expected\nalice, t, produce, allow\n\n\"Doe, Jane\", *, admin,deny\n").unwrap();
        assert_eq!((read[0].line, read[0].subject, read[0].effect), (2, "alice", Effect::Allow));
        assert_eq!((read[1].line, read[1].subject, read[1].object.as_str()), (4, "Doe, Jane", "*"));
        for (line, problem) in [
            ("alice, t, produce", LINE_FORM),
            ("alice, t, read, allow", "\"read\" is no action"),
            ("alice, t, produce, yes", "\"yes\" is no effect"),
            ("alice, a b, produce, allow", "\"a b\" is no topic"),
        ] {
            let (number, said) = expectations(line).unwrap_err();
            assert!(number == 1 && said.starts_with(problem), "{said}");
        }
    }
}

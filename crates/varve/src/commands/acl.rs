//! `varve acl`.

mod check;
mod list;
mod test;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use varve_api::TopicName;
use varve_authz::{Action, Object, Policy, PolicyError, PolicySource, Problem};

use crate::failure::Failure;

/// The commands about who may do what.
#[derive(Debug, Subcommand)]
pub(crate) enum AclCommand {
    /// Say whether a subject may do something to a topic, and by which rule
    #[command(after_help = check::AFTER_HELP)]
    Check(check::CheckArgs),
    /// List the subjects of a policy, and what they may do
    #[command(after_help = list::AFTER_HELP)]
    List(list::ListArgs),
    /// Compare a policy's decisions with those that are expected
    #[command(after_help = test::AFTER_HELP)]
    Test(test::TestArgs),
}

/// Which policy is looked at.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The policy's rules
    #[arg(long, value_name = "FILE", env = "VARVE_ACL_POLICY_FILE")]
    policy_file: PathBuf,
    /// The policy's model [default: one with prefixes, roles and rules that deny]
    #[arg(long, value_name = "FILE", env = "VARVE_ACL_MODEL_FILE")]
    model_file: Option<PathBuf>,
}

/// Runs one of them.
pub(crate) fn run(command: AclCommand) -> Result<(), Failure> {
    match command {
        AclCommand::Check(args) => check::run(&args),
        AclCommand::List(args) => list::run(&args),
        AclCommand::Test(args) => test::run(&args),
    }
}

impl PolicyArgs {
    fn load(self: &PolicyArgs) -> Result<Policy, Failure> {
        let source =
            PolicySource { policy_file: self.policy_file.clone(), model_file: self.model_file.clone() };
        source.load().map_err(|error| policy_failure(&error))
    }
}

/// A topic, or `*` for the cluster as a whole.
#[derive(Debug, Clone)]
enum ObjectArg {
    Topic(TopicName),
    Cluster,
}

impl ObjectArg {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::Cluster),
            name => TopicName::new(name).map(Self::Topic).map_err(|error| error.problem.to_owned()),
        }
    }

    fn as_object(&self) -> Object<'_> {
        match self {
            Self::Topic(name) => Object::Topic(name.as_str()),
            Self::Cluster => Object::Cluster,
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Topic(name) => name.as_str(),
            Self::Cluster => "*",
        }
    }
}

/// Takes the word of an action.
fn action() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(Action::ALL.map(Action::as_str)).try_map(|word| word.parse::<Action>())
}

fn policy_failure(error: &PolicyError) -> Failure {
    match &error.problem {
        Problem::Read(source) => Failure::file("read", &error.file, source),
        _ => Failure::usage(error.to_string()),
    }
}

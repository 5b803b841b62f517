//! `varve cert`.

mod init;
mod issue;
mod revoke;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use varve_cert::{DirectoryError, Existing, Validity};

use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};
use crate::units::parse_duration;

/// The commands about certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make an authority, and the key that gossip is encrypted with
    #[command(after_help = init::AFTER_HELP)]
    Init(init::InitArgs),
    /// Make a certificate for a server or a client
    #[command(after_help = issue::AFTER_HELP)]
    Issue(issue::IssueArgs),
    /// Show what certificates say, and what is wrong with them
    #[command(after_help = show::AFTER_HELP)]
    Show(show::ShowArgs),
    /// Take certificates back: write the list of those that servers are to refuse
    #[command(after_help = revoke::AFTER_HELP)]
    Revoke(revoke::RevokeArgs),
}

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct DirArg {
    /// The directory of the authority
    #[arg(long, default_value = "certs", value_name = "DIR")]
    dir: PathBuf,
}

/// Runs one of them.
pub(crate) fn run(command: CertCommand, verbosity: Verbosity) -> Result<(), Failure> {
    match command {
        CertCommand::Init(args) => init::run(&args, verbosity),
        CertCommand::Issue(args) => issue::run(args, verbosity),
        CertCommand::Show(args) => show::run(&args),
        CertCommand::Revoke(args) => revoke::run(&args, verbosity),
    }
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

fn certificate_validity(text: &str) -> Result<Validity, String> {
    Validity::of_certificate(parse_duration(text)?).map_err(|error| error.to_string())
}

fn authority_validity(text: &str) -> Result<Validity, String> {
    Validity::of_authority(parse_duration(text)?).map_err(|error| error.to_string())
}

fn revocations_validity(text: &str) -> Result<Validity, String> {
    Validity::of_revocations(parse_duration(text)?).map_err(|error| error.to_string())
}

/// What is said when a directory of certificates cannot be used.
fn directory_failure(error: &DirectoryError) -> Failure {
    match error {
        DirectoryError::Exists { path } => {
            let message = format!("{} exists already, and was left as it is", path.display());
            Failure::new(Exit::Precondition, message)
                .hint("--force replaces it; whoever uses the old one must be given the new")
        }
        DirectoryError::Read { path, source } => Failure::file("read", path.display(), source)
            .hint("`varve cert init --dir DIR` makes an authority in DIR"),
        DirectoryError::Write { path, source } => Failure::file("write", path.display(), source),
        DirectoryError::Shared { path, mode } => {
            let message = format!("{} may be read by others (mode {mode:04o})", path.display());
            Failure::usage(message).hint(format!("run `chmod 600 {}`", path.display()))
        }
        DirectoryError::Unusable { .. } => {
            Failure::new(Exit::Precondition, error.to_string()).hint("--force replaces it")
        }
        DirectoryError::Reserved { .. } => Failure::usage(error.to_string()),
        DirectoryError::Authority { .. } | DirectoryError::Revocations { .. } => {
            Failure::new(Exit::Precondition, error.to_string())
        }
    }
}

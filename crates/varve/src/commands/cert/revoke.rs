//! `varve cert revoke`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use varve_cert::{Authority, CertificateDir, Revocations, Validity, certificates};

use super::{DirArg, directory_failure, revocations_validity};
use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};

pub(super) const AFTER_HELP: &str = "\
Writes crl.pem, which every server is given. It ends after some time, and a server refuses everyone
by a list that has ended: write it anew before that, with no FILE if nothing is to be revoked.

Examples:
  varve cert revoke --dir certs certs/alice.pem
  varve cert revoke --dir certs --valid 90d";

/// What `cert revoke` takes.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The certificates; none to write the list anew as it is
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    dir: DirArg,
    /// For how long servers take the list [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = revocations_validity)]
    valid: Option<Validity>,
}

/// Revokes certificates.
pub(super) fn run(args: &RevokeArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let dir = CertificateDir::at(&args.dir.dir);
    let authority = dir.authority().map_err(|error| directory_failure(&error))?;
    let mut list = dir.revocations(&authority).map_err(|error| directory_failure(&error))?;
    for file in &args.files {
        revoke(file, &mut list, &authority, verbosity)?;
    }
    let signed = list.sign(&authority, args.valid.unwrap_or(Validity::REVOCATIONS), SystemTime::now());
    let signed = signed.map_err(|error| Failure::new(Exit::General, error.to_string()))?;
    let written = dir.write_revocations(&signed).map_err(|error| directory_failure(&error))?;
    verbosity.say(&format!(
        "wrote {} for every server; certificates revoked: {}",
        written.display(),
        list.len()
    ));
    Ok(())
}

fn revoke(
    file: &Path,
    list: &mut Revocations,
    authority: &Authority,
    verbosity: Verbosity,
) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let text = varve_cert::read(file).map_err(|error| super::show::read_failure(file, &error))?;
    // Those above it in a chain stay good.
    let found = certificates(&text).map_err(|error| wrong(&error))?;
    let Some(leaf) = found.first() else { return Ok(()) };
    let is_new = list.revoke(leaf, authority, SystemTime::now()).map_err(|error| wrong(&error))?;
    if !is_new {
        verbosity.say(&format!("{} was revoked before", file.display()));
    }
    Ok(())
}

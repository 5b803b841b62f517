//! `varve cert init`.

use std::time::SystemTime;

use clap::Args;
use varve_cert::{AUTHORITY_FILE, Authority, CertificateDir, CommonName, Validity};
use varve_gossip::GossipKey;

use super::{DirArg, authority_validity, directory_failure, existing};
use crate::cli::Verbosity;
use crate::commands::gossip::key_failure;
use crate::failure::{Exit, Failure};

/// What the key file of gossip is called.
pub(super) const GOSSIP_KEY_FILE: &str = "gossip.key";

pub(super) const AFTER_HELP: &str = "\
Writes ca.pem, which everyone is given; ca-key.pem, which signs certificates and belongs on no
server; and gossip.key, which every server is given. Keys can be read by you alone (mode 0600).

Example:
  varve cert init --dir certs                     with --if-missing for scripts that may run again
  varve cert issue --dir certs --server node-1 --san 127.0.0.1
  varve cert issue --dir certs --client alice";

/// What `cert init` takes.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    dir: DirArg,
    /// What the authority is called
    #[arg(long, default_value = "Varve CA", value_name = "NAME", value_parser = common_name)]
    name: CommonName,
    /// For how long it is good [default: 3652d]
    #[arg(long, value_name = "TIME", value_parser = authority_validity)]
    valid: Option<Validity>,
    /// Replace an authority that is there; a gossip key that is there stays
    #[arg(long)]
    force: bool,
    /// Keep an authority that is there, and end well
    #[arg(long, conflicts_with = "force")]
    if_missing: bool,
}

/// Makes an authority.
pub(super) fn run(args: &InitArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let dir = CertificateDir::create(&args.dir.dir).map_err(|error| directory_failure(&error))?;
    // Its certificate is written last: without it there is no authority yet.
    if args.if_missing && dir.file(AUTHORITY_FILE).symlink_metadata().is_ok() {
        dir.authority().map_err(|error| directory_failure(&error))?;
        verbosity.say(&format!("kept the authority {}", dir.file(AUTHORITY_FILE).display()));
    } else {
        make_authority(args, &dir, verbosity)?;
    }
    let gossip_key = dir.file(GOSSIP_KEY_FILE);
    if gossip_key.symlink_metadata().is_ok() {
        verbosity.say(&format!("kept the gossip key {}", gossip_key.display()));
        return Ok(());
    }
    let made = GossipKey::generate().and_then(|key| key.write_file(&gossip_key));
    made.map_err(|error| key_failure(&error))?;
    verbosity.say(&format!("wrote the gossip key {} for every server", gossip_key.display()));
    Ok(())
}

fn make_authority(args: &InitArgs, dir: &CertificateDir, verbosity: Verbosity) -> Result<(), Failure> {
    let authority =
        Authority::generate(&args.name, args.valid.unwrap_or(Validity::AUTHORITY), SystemTime::now())
            .map_err(|error| Failure::new(Exit::General, error.to_string()))?;
    let written = dir
        .write_authority(&authority, existing(args.force || args.if_missing))
        .map_err(|error| directory_failure(&error))?;
    verbosity.say(&format!(
        "wrote {} for everyone, and its key {}, which belongs on no server",
        written.certificate.display(),
        written.key.display()
    ));
    Ok(())
}

/// Takes a common name.
pub(super) fn common_name(text: &str) -> Result<CommonName, String> {
    CommonName::new(text).map_err(|error| error.to_string())
}

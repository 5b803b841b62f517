//! `varve gossip`.

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use varve_gossip::{GossipKey, GossipKeyError};

use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};

/// The commands about gossip.
#[derive(Debug, Subcommand)]
pub(crate) enum GossipCommand {
    /// Write a new key to a file that only you may read
    #[command(
        after_help = "Every server of a cluster gets a copy, as --gossip-key-file.\n\nExample:\n  varve gossip keygen gossip.key"
    )]
    Keygen(KeygenArgs),
}

/// What `gossip keygen` takes.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// The file; it must not exist yet
    file: PathBuf,
}

/// Runs one of them.
pub(crate) fn run(command: GossipCommand, verbosity: Verbosity) -> Result<(), Failure> {
    let GossipCommand::Keygen(args) = command;
    let path = &args.file;
    let written = GossipKey::generate().and_then(|key| key.write_file(path));
    written.map_err(|error| key_failure(&error))?;
    verbosity.say(&format!("wrote a key to {}; give every server a copy, and nobody else", path.display()));
    Ok(())
}

/// What is said when a key could not be made, written or read.
pub(crate) fn key_failure(error: &GossipKeyError) -> Failure {
    match error {
        GossipKeyError::Write { path, source } if source.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists already, and was left as it is", path.display());
            Failure::new(Exit::Precondition, message)
                .hint("choose another file, or remove it if no server uses it")
        }
        GossipKeyError::Write { path, source } => Failure::file("write", path.display(), source),
        GossipKeyError::Read { path, source } => {
            let failure = Failure::file("read the gossip key", path.display(), source);
            failure.hint("`varve gossip keygen FILE` makes one; every server gets a copy of the same")
        }
        GossipKeyError::Shared { path, mode } => {
            let message = format!("gossip key {} may be read by others (mode {mode:04o})", path.display());
            Failure::usage(message).hint(format!("run `chmod 600 {}`", path.display()))
        }
        GossipKeyError::NoRandomness { .. } => Failure::new(Exit::General, error.to_string()),
        _ => Failure::usage(error.to_string()),
    }
}

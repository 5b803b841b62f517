//! `varve version`.

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Format, Output, table_or_json};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, where that is known.
pub(crate) const COMMIT: Option<&str> = option_env!("BUILT_FROM_COMMIT");

/// What `version` takes.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// How to write it
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = table_or_json())]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    /// The commit it was built from, where that is known.
    commit: Option<&'static str>,
    target: &'static str,
}

/// Shows the version.
pub(crate) fn run(args: &VersionArgs) -> Result<(), Failure> {
    let version = Version { version: VERSION, commit: COMMIT, target: env!("BUILT_FOR_TARGET") };
    let mut out = Output::new();
    if args.output == Format::Json {
        out.json(&version, true)?;
    } else {
        let commit = version.commit.map_or_else(String::new, |commit| format!("{commit}, "));
        out.line(&format!("varve {} ({commit}{})", version.version, version.target))?;
    }
    out.flush()
}

//! `varve debug bundle`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Node, Server};
use crate::cli::{Connect, Verbosity};
use crate::commands::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::tar;

pub(crate) const AFTER_HELP: &str = "\
Takes the right to administer the cluster. Of each server that answers there are: settings (paths of keys, never
keys), checks, metrics, the newest log lines, the state of each replica, the names and sizes of all files. No
records are among it. What could not be had is named in errors.txt.

Examples:
  varve debug bundle                     writes varve-bundle-TIME.tar.gz
  varve debug bundle --file b.tar.gz --node node-2";

/// What `debug bundle` takes.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The archive to write, which must not be there yet [default: varve-bundle-TIME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    connect: Connect,
}

/// Gathers, and writes the archive.
pub(crate) async fn run(args: BundleArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let connection = Connection::open(&args.connect).await?;
    let servers = args.node.servers(&connection).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = args.file.clone().unwrap_or_else(|| format!("varve-bundle-{now}.tar.gz").into());
    let fail = |error: std::io::Error| {
        Failure::new(Exit::General, format!("cannot write {}: {error}", path.display()))
    };
    // It tells much about a cluster: for its owner alone, and over nothing that is there.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
    let mut archive = tar::Writer::new(GzEncoder::new(file, Compression::default()), now);
    let (mut errors, mut first_error, mut answered) = (String::new(), None, 0);
    for server in &servers {
        verbosity.say(&format!("asking {} at {}", server.name, server.addr));
        match connection.client.collect(&server.addr).await {
            Ok(files) => {
                answered += 1;
                for file in files {
                    archive
                        .add(&format!("{}/{}", folder(server), file_name(&file.name)), &file.data)
                        .map_err(fail)?;
                }
            }
            Err(error) => {
                errors.push_str(&format!("{} at {}: {error}\n", server.name, server.addr));
                first_error.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first_error.filter(|_| answered == 0) {
        // There is nothing in it.
        drop(std::fs::remove_file(&path));
        return Err(connection.fail("gather anything", &error));
    }
    match connection.client.cluster_health().await {
        Ok(health) => archive.add("cluster-health.txt", format!("{health:#?}\n").as_bytes()).map_err(fail)?,
        Err(error) => errors.push_str(&format!("the cluster's health: {error}\n")),
    }
    archive.add("errors.txt", errors.as_bytes()).map_err(fail)?;
    archive.finish().and_then(|gzip| gzip.finish()).and_then(|mut file| file.flush()).map_err(fail)?;
    if !errors.is_empty() {
        verbosity.say(errors.trim_end());
    }
    let mut out = Output::new();
    out.line(&path.display().to_string())?;
    out.flush()
}

/// Where a server's files lie. Its name was checked by the cluster, and may be of an older one.
fn folder(server: &Server) -> String {
    format!("{}-{}", server.id, file_name(&server.name))
}

/// A name that stays where it is put.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let name: String = name.chars().take(80).map(safe).collect();
    name.trim_start_matches('.').to_owned()
}

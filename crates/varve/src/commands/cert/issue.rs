//! `varve cert issue`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{ArgGroup, Args};
use varve_cert::{
    Authority, AuthorityError, CertificateDir, ClientRequest, ClusterName, CommonName, Description, Existing,
    Issued, NodeName, ServerAddress, ServerRequest, Validity,
};
use varve_gossip::GossipKeyRing;

use super::init::{GOSSIP_KEY_FILE, common_name};
use super::{DirArg, certificate_validity, directory_failure, existing};
use crate::cli::Verbosity;
use crate::commands::gossip::key_failure;
use crate::failure::{Exit, Failure};
use crate::time::format_time;

pub(super) const AFTER_HELP: &str = "\
A server's certificate names the node and its cluster (as varve://CLUSTER/node/NAME) and the
addresses that clients reach it by. It serves, and it speaks to the other nodes. A client's has the
subject that policies name, and never passes for a node's. The files are NAME.pem and NAME-key.pem.
With --out they are written to where they are to be used, and ca.pem beside them, for a server
gossip.key, too; the authority's key stays where it is.

Examples:
  varve cert issue --dir certs --server node-1 --san node-1.example.com,10.0.0.1
  varve cert issue --dir certs --server node-1 --san 127.0.0.1 --cluster prod --valid 90d
  varve cert issue --dir certs --client alice
  varve cert issue --dir ca --out node-1 --server node-1 --if-missing     for scripts that may run again";

/// What `cert issue` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["server", "client"]))]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    dir: DirArg,
    /// For a server: the name of the node
    #[arg(long, value_name = "NAME")]
    server: Option<NodeName>,
    /// For a client: the subject that policies name
    #[arg(long, value_name = "NAME", value_parser = common_name)]
    client: Option<CommonName>,
    /// A host name or IP address of the server; its own name is one always
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', conflicts_with = "client")]
    san: Vec<ServerAddress>,
    /// The cluster of the server: nodes trust those of the same
    #[arg(long, value_name = "NAME", conflicts_with = "client", default_value = "varve")]
    cluster: ClusterName,
    /// For how long it is good [default: 365d]
    #[arg(long, value_name = "TIME", value_parser = certificate_validity)]
    valid: Option<Validity>,
    /// Another directory to write to, which is made [default: that of the authority]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace one that is there
    #[arg(long)]
    force: bool,
    /// Keep one that is there, and end well, if it is of this authority and still good
    #[arg(long, conflicts_with = "force")]
    if_missing: bool,
}

/// Makes a certificate.
pub(super) fn run(args: IssueArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let dir = CertificateDir::at(&args.dir.dir);
    let authority = dir.authority().map_err(|error| directory_failure(&error))?;
    let now = SystemTime::now();
    let out = match &args.out {
        Some(out) => give(&args, &dir, out, &authority)?,
        None => dir,
    };
    let name = name(&args)?;
    let mut existing = existing(args.force);
    if args.if_missing {
        if let Some(there) = out.issued(&name, &authority, now).map_err(|error| directory_failure(&error))? {
            verbosity.say(&format!("kept {name}: {}, until {}", there.role, until(&there)));
            return Ok(());
        }
        // A key without its certificate is of no use to anybody: what was to make both was interrupted.
        existing = Existing::Replace;
    }
    let issued = issue(args, &authority, now)?;
    let written = out.write_issued(&name, &issued, existing).map_err(|error| directory_failure(&error))?;
    let described = Description::of(&issued.certificate_der, now)
        .map_err(|error| Failure::new(Exit::General, format!("what was made cannot be read: {error}")))?;
    verbosity.say(&format!(
        "wrote {} and {}: {}, until {}",
        written.certificate.display(),
        written.key.display(),
        described.role,
        until(&described)
    ));
    Ok(())
}

fn name(args: &IssueArgs) -> Result<String, Failure> {
    match (&args.server, &args.client) {
        (Some(node), _) => Ok(node.to_string()),
        (None, Some(client)) => Ok(client.to_string()),
        (None, None) => Err(Failure::usage("write --server NAME or --client NAME")),
    }
}

fn issue(args: IssueArgs, authority: &Authority, now: SystemTime) -> Result<Issued, Failure> {
    let validity = args.valid.unwrap_or(Validity::CERTIFICATE);
    let issued = match (args.server, args.client) {
        (Some(node), _) => {
            let request = ServerRequest { cluster: args.cluster, node, addresses: args.san, validity };
            authority.issue_server(&request, now)
        }
        (None, Some(client)) => authority.issue_client(&ClientRequest { name: client, validity }, now),
        (None, None) => return Err(Failure::usage("write --server NAME or --client NAME")),
    };
    issued.map_err(|error| issue_failure(&error))
}

/// Writes what goes with a certificate into a directory of its own: the authority's certificate, and for a server the gossip key.
fn give(
    args: &IssueArgs,
    dir: &CertificateDir,
    out: &Path,
    authority: &Authority,
) -> Result<CertificateDir, Failure> {
    let out = CertificateDir::create(out).map_err(|error| directory_failure(&error))?;
    out.write_trust(authority, existing(args.force)).map_err(|error| directory_failure(&error))?;
    let (from, to) = (dir.file(GOSSIP_KEY_FILE), out.file(GOSSIP_KEY_FILE));
    // One that is there may be newer: gossip keys are rotated where they are used.
    if args.server.is_some() && from.exists() && to.symlink_metadata().is_err() {
        let copied = GossipKeyRing::read_file(&from).and_then(|keys| keys.write_file(&to));
        copied.map_err(|error| key_failure(&error))?;
    }
    Ok(out)
}

fn until(described: &Description) -> String {
    format_time(described.not_after.unix_timestamp() * 1000)
}

fn issue_failure(error: &AuthorityError) -> Failure {
    match error {
        AuthorityError::OutlivesAuthority { .. } => Failure::usage(error.to_string()),
        _ => Failure::new(Exit::General, error.to_string()),
    }
}

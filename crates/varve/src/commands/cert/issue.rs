//! `varve cert issue`.

use std::time::SystemTime;

use clap::{ArgGroup, Args};
use varve_cert::{
    AuthorityError, CertificateDir, ClientRequest, ClusterName, CommonName, Description, NodeName,
    ServerAddress, ServerRequest, Validity,
};

use super::init::common_name;
use super::{DirArg, certificate_validity, directory_failure, existing};
use crate::cli::Verbosity;
use crate::failure::{Exit, Failure};
use crate::time::format_time;

pub(super) const AFTER_HELP: &str = "\
A server's certificate names the node and its cluster (as varve://CLUSTER/node/NAME) and the
addresses that clients reach it by. It serves, and it speaks to the other nodes. A client's has the
subject that policies name, and never passes for a node's. The files are NAME.pem and NAME-key.pem.

Examples:
  varve cert issue --dir certs --server node-1 --san node-1.example.com,10.0.0.1
  varve cert issue --dir certs --server node-1 --san 127.0.0.1 --cluster prod --valid 90d
  varve cert issue --dir certs --client alice";

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
    /// Replace one that is there
    #[arg(long)]
    force: bool,
}

/// Makes a certificate.
pub(super) fn run(args: IssueArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let dir = CertificateDir::at(&args.dir.dir);
    let authority = dir.authority().map_err(|error| directory_failure(&error))?;
    let validity = args.valid.unwrap_or(Validity::CERTIFICATE);
    let now = SystemTime::now();
    let (name, issued) = match (args.server, args.client) {
        (Some(node), _) => {
            let name = node.to_string();
            let request = ServerRequest { cluster: args.cluster, node, addresses: args.san, validity };
            (name, authority.issue_server(&request, now))
        }
        (None, Some(client)) => {
            (client.to_string(), authority.issue_client(&ClientRequest { name: client, validity }, now))
        }
        (None, None) => return Err(Failure::usage("write --server NAME or --client NAME")),
    };
    let issued = issued.map_err(|error| issue_failure(&error))?;
    let written =
        dir.write_issued(&name, &issued, existing(args.force)).map_err(|error| directory_failure(&error))?;
    let described = Description::of(&issued.certificate_der, now)
        .map_err(|error| Failure::new(Exit::General, format!("what was made cannot be read: {error}")))?;
    verbosity.say(&format!(
        "wrote {} and {}: {}, until {}",
        written.certificate.display(),
        written.key.display(),
        described.role,
        format_time(described.not_after.unix_timestamp() * 1000)
    ));
    Ok(())
}

fn issue_failure(error: &AuthorityError) -> Failure {
    match error {
        AuthorityError::OutlivesAuthority { .. } => Failure::usage(error.to_string()),
        _ => Failure::new(Exit::General, error.to_string()),
    }
}

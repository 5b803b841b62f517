//! Whom a connection's certificate names.

use std::net::SocketAddr;
use std::sync::Arc;

use varve_cert::subject_of;
use varve_net::{Connection, Security};

use super::PeerRule;

/// Who has made a connection. A clone is cheap: there is one for each call.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// In the clear nobody says who they are.
    Anyone,
    /// Nobody who could be named.
    Nobody {
        /// Why not.
        why: Arc<str>,
        addr: SocketAddr,
    },
    /// A client.
    Client { subject: Arc<str>, addr: SocketAddr },
    /// A node of this cluster.
    Node {
        subject: Arc<str>,
        /// Its name, where its certificate has it.
        node: Option<Arc<str>>,
        addr: SocketAddr,
    },
}

impl Caller {
    pub(crate) fn of(connection: &Connection, peers: &PeerRule) -> Self {
        let addr = connection.peer_addr();
        let Security::Tls { certificate } = connection.security() else { return Self::Anyone };
        let Some(certificate) = certificate else {
            return Self::Nobody { why: "give a certificate".into(), addr };
        };
        let node = peers.check(certificate);
        match subject_of(certificate.der()) {
            Ok(subject) => {
                let subject = subject.as_str().into();
                match node {
                    Ok(uri) => Self::Node { subject, node: uri.map(|uri| uri.node.as_str().into()), addr },
                    Err(_) => Self::Client { subject, addr },
                }
            }
            Err(error) => Self::Nobody { why: format!("the certificate names nobody: {error}").into(), addr },
        }
    }
}

/// Whether a node may say that it has this name, by the certificate that it has shown.
pub(crate) fn may_be(certified: Option<&str>, name: Option<&str>) -> Result<(), String> {
    match (certified, name) {
        (Some(certified), Some(name)) if certified != name => {
            Err(format!("its certificate is that of node {certified}, and it says that it is {name}"))
        }
        _ => Ok(()),
    }
}

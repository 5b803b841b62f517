//! Certificates, policies and connections for nodes that are secured.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures::TryFutureExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use varve_cert::Written;
use varve_cert::testing::{EXPIRED, NEW, TestPki};
use varve_server::{AclFiles, NodeConfig, SecurityConfig};
use varve_tls::{ClientTls, ClientTlsSettings, HandshakeError, ServerTlsSettings, TlsFiles, TlsVersion};

/// Who may do what, unless a test says otherwise.
pub(crate) const POLICY: &str = "p, root, *, *\np, writer, events, produce\np, reader, events, consume\n";

/// A directory with authorities, certificates and a policy.
pub(crate) struct Certificates {
    pki: TestPki,
    /// One that nobody trusts, unless a test says so.
    other: TestPki,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let made = Self { pki: TestPki::new("authority"), other: TestPki::new("other authority") };
        made.write("other-ca.pem", made.other.authority().certificate_pem());
        made.write("policy.csv", POLICY);
        made
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.pki.path(name)
    }

    /// Puts a file in place as a whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.pki.write(name, text);
    }

    /// The certificate of a node of cluster `varve`.
    pub(crate) fn node(&self, name: &str) -> TlsFiles {
        self.files(self.pki.issue_node("varve", name, &["127.0.0.1"], NEW))
    }

    /// The same, of another cluster.
    pub(crate) fn stranger(&self, name: &str) -> TlsFiles {
        self.files(self.pki.issue_node("elsewhere", name, &["127.0.0.1"], NEW))
    }

    /// A client's certificate.
    pub(crate) fn client(&self, name: &str) -> TlsFiles {
        self.files(self.pki.issue_client(name, NEW))
    }

    /// One that has expired.
    pub(crate) fn expired_client(&self, name: &str) -> TlsFiles {
        self.files(self.pki.issue_client(name, EXPIRED))
    }

    /// One of an authority that the servers do not trust.
    pub(crate) fn foreign_client(&self, name: &str) -> TlsFiles {
        self.files(self.other.issue_client(name, NEW))
    }

    fn files(&self, written: Written) -> TlsFiles {
        TlsFiles { cert: written.certificate, key: written.key, ca: self.pki.ca() }
    }

    /// A list that revokes a certificate.
    pub(crate) fn revoke(&self, files: &TlsFiles) -> PathBuf {
        self.pki.revoke(&[&files.cert], NEW)
    }

    /// What secures a node.
    pub(crate) fn security(&self, node: &str) -> SecurityConfig {
        let files = self.node(node);
        SecurityConfig {
            tls: ServerTlsSettings {
                server: files.clone(),
                peer: files,
                crl: None,
                min_version: TlsVersion::default(),
            },
            acl: AclFiles { model: None, policy: self.path("policy.csv") },
            connection_age_max: Duration::from_secs(3600),
            reload_interval: Duration::from_secs(3600),
        }
    }

    /// Secures a node.
    pub(crate) fn secure(&self, config: &mut NodeConfig) {
        config.security = Some(self.security(&config.node_name));
    }
}

pub(crate) fn client_tls(files: TlsFiles) -> ClientTls {
    ClientTls::open(ClientTlsSettings { files, server_name: None }).unwrap()
}

/// Connects as a client does.
pub(crate) async fn connect(addr: &str, files: TlsFiles) -> Result<Channel, HandshakeError> {
    connect_with(addr, client_tls(files)).await
}

pub(crate) async fn connect_with(addr: &str, tls: ClientTls) -> Result<Channel, HandshakeError> {
    let host_port = addr.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, host_port) = (tls.clone(), host_port.clone());
        async move {
            let stream = TcpStream::connect(&host_port).await?;
            let connected = tls.connect(&host_port, stream).map_err(HandshakeError::into_io).await?;
            io::Result::Ok(TokioIo::new(connected))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|error| HandshakeError::find(&error).unwrap_or_else(|| panic!("{error:?}")))
}

//! Certificates, policies and connections for nodes that are secured.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures::TryFutureExt;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use varve_cert::{Authority, ClientRequest, CommonName, Issued, Revocations, ServerRequest, Validity};
use varve_server::{AclFiles, NodeConfig, SecurityConfig};
use varve_tls::{ClientTls, ClientTlsSettings, HandshakeError, ServerTlsSettings, TlsFiles, TlsVersion};

/// Who may do what, unless a test says otherwise.
pub(crate) const POLICY: &str = "p, root, *, *\np, writer, events, produce\np, reader, events, consume\n";

/// A directory with authorities, certificates and a policy.
pub(crate) struct Certificates {
    dir: TempDir,
    authority: Authority,
    /// One that nobody trusts, unless a test says so.
    other: Authority,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let (dir, now) = (TempDir::new().unwrap(), SystemTime::now());
        let made =
            |name| Authority::generate(&CommonName::new(name).unwrap(), Validity::AUTHORITY, now).unwrap();
        let made = Self { dir, authority: made("authority"), other: made("other") };
        made.write("ca.pem", made.authority.certificate_pem());
        made.write("other-ca.pem", made.other.certificate_pem());
        made.write("policy.csv", POLICY);
        made
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file in place as a whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// The certificate of a node of cluster `varve`.
    pub(crate) fn node(&self, name: &str) -> TlsFiles {
        self.node_of(&self.authority, "ca.pem", "varve", name)
    }

    /// The same, of another cluster.
    pub(crate) fn stranger(&self, name: &str) -> TlsFiles {
        self.node_of(&self.authority, "ca.pem", "elsewhere", name)
    }

    fn node_of(&self, authority: &Authority, ca: &str, cluster: &str, name: &str) -> TlsFiles {
        let mut request = ServerRequest::new(cluster.parse().unwrap(), name.parse().unwrap());
        request.addresses.push("127.0.0.1".parse().unwrap());
        let issued = authority.issue_server(&request, SystemTime::now()).unwrap();
        self.keep(&format!("{cluster}-{name}"), &issued, ca)
    }

    /// A client's certificate.
    pub(crate) fn client(&self, name: &str) -> TlsFiles {
        self.client_at(name, SystemTime::now())
    }

    /// One that has expired.
    pub(crate) fn expired_client(&self, name: &str) -> TlsFiles {
        self.client_at(name, SystemTime::now() - Duration::from_secs(10 * 24 * 3600))
    }

    fn client_at(&self, name: &str, now: SystemTime) -> TlsFiles {
        let validity = Validity::of_certificate(Duration::from_secs(9 * 24 * 3600)).unwrap();
        let request = ClientRequest { name: CommonName::new(name).unwrap(), validity };
        self.keep(name, &self.authority.issue_client(&request, now).unwrap(), "ca.pem")
    }

    /// One of an authority that the servers do not trust.
    pub(crate) fn foreign_client(&self, name: &str) -> TlsFiles {
        let request = ClientRequest::new(CommonName::new(name).unwrap());
        self.keep("foreign", &self.other.issue_client(&request, SystemTime::now()).unwrap(), "ca.pem")
    }

    fn keep(&self, name: &str, issued: &Issued, ca: &str) -> TlsFiles {
        let (cert, key) = (format!("{name}.pem"), format!("{name}-key.pem"));
        self.write(&cert, &issued.certificate_pem);
        self.write(&key, issued.key.as_str());
        TlsFiles { cert: self.path(&cert), key: self.path(&key), ca: self.path(ca) }
    }

    /// A list that revokes a certificate, and what it is called.
    pub(crate) fn revoke(&self, files: &TlsFiles) -> PathBuf {
        let now = SystemTime::now();
        let mut revocations = Revocations::default();
        revocations.revoke(&der(files), &self.authority, now).unwrap();
        let list = revocations.sign(&self.authority, Validity::REVOCATIONS, now).unwrap();
        self.write("crl.pem", &list);
        self.path("crl.pem")
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

/// The certificate in a file of PEM.
fn der(files: &TlsFiles) -> Vec<u8> {
    let pem = std::fs::read_to_string(&files.cert).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64(&body)
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut len) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        bits = bits << 6 | digit as u32;
        len += 6;
        if len >= 8 {
            len -= 8;
            bytes.push((bits >> len) as u8);
        }
    }
    bytes
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

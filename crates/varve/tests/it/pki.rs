//! Certificates made on the spot, and a policy.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use varve_cert::{
    AUTHORITY_FILE, Authority, CertificateDir, ClientRequest, ClusterName, CommonName, Existing, Issued,
    NodeName, ServerRequest, Validity,
};

/// The node that servers of tests are.
pub(crate) const NODE: &str = "node-1";

pub(crate) const NEW: Duration = Duration::ZERO;
/// Made so long ago that what is good for an hour has ended.
pub(crate) const EXPIRED: Duration = Duration::from_secs(2 * 3600);

/// An authority, and a directory with what it issued.
pub(crate) struct Pki {
    authority: Authority,
    dir: CertificateDir,
    home: tempfile::TempDir,
}

impl Pki {
    /// With a certificate for a node on loopback, and one for the client `root`, who may do everything.
    pub(crate) fn new() -> Self {
        Self::named("test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = CertificateDir::create(home.path()).unwrap();
        let name = CommonName::new(name).unwrap();
        let authority = Authority::generate(&name, Validity::AUTHORITY, SystemTime::now()).unwrap();
        dir.write_authority(&authority, Existing::Keep).unwrap();
        let pki = Self { authority, dir, home };
        pki.issue_server(&["127.0.0.1"], NEW);
        pki.issue_client("root", NEW);
        pki.allow("p, root, *, *\n");
        pki
    }

    /// Makes the server's certificate anew.
    pub(crate) fn issue_server(&self, addresses: &[&str], age: Duration) {
        let mut request = ServerRequest::new(ClusterName::default(), NodeName::new(NODE).unwrap());
        request.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        request.validity = hour();
        self.write(NODE, &self.authority.issue_server(&request, SystemTime::now() - age).unwrap());
    }

    /// Makes a client's certificate, perhaps anew.
    pub(crate) fn issue_client(&self, name: &str, age: Duration) {
        let request =
            ClientRequest { validity: hour(), ..ClientRequest::new(CommonName::new(name).unwrap()) };
        self.write(name, &self.authority.issue_client(&request, SystemTime::now() - age).unwrap());
    }

    /// Writes a policy.
    pub(crate) fn allow(&self, rules: &str) {
        let new = self.path("policy.new");
        std::fs::write(&new, rules).unwrap();
        std::fs::rename(new, self.path("policy.csv")).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.file(file)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What a server is told.
    pub(crate) fn server_flags(&self) -> Vec<String> {
        let files = [
            ("--server-tls-ca-file", self.path(AUTHORITY_FILE)),
            ("--server-tls-cert-file", self.path(&format!("{NODE}.pem"))),
            ("--server-tls-key-file", self.path(&format!("{NODE}-key.pem"))),
            ("--acl-policy-file", self.path("policy.csv")),
            ("--node-name", NODE.into()),
        ];
        files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), text(&file)]).collect()
    }

    /// What a client has in its environment.
    pub(crate) fn variables(&self, name: &str) -> Vec<(&'static str, String)> {
        vec![
            ("VARVE_TLS_CA_FILE", text(&self.path(AUTHORITY_FILE))),
            ("VARVE_TLS_CERT_FILE", text(&self.path(&format!("{name}.pem")))),
            ("VARVE_TLS_KEY_FILE", text(&self.path(&format!("{name}-key.pem")))),
        ]
    }

    /// The same as flags.
    pub(crate) fn flags(&self, name: &str) -> Vec<String> {
        let flag =
            |name: &str| format!("--{}", name.trim_start_matches("VARVE_").to_lowercase().replace('_', "-"));
        self.variables(name).into_iter().flat_map(|(variable, file)| [flag(variable), file]).collect()
    }

    fn write(&self, name: &str, issued: &Issued) {
        self.dir.write_issued(name, issued, Existing::Replace).unwrap();
    }
}

fn hour() -> Validity {
    Validity::of_certificate(Duration::from_secs(3600)).unwrap()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

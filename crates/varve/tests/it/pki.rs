//! Certificates made on the spot, and a policy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use varve_cert::AUTHORITY_FILE;
use varve_cert::testing::TestPki;
pub(crate) use varve_cert::testing::{EXPIRED, NEW};

/// The node that servers of tests are.
pub(crate) const NODE: &str = "node-1";

/// An authority, and a directory with what it issued.
pub(crate) struct Pki(TestPki);

impl Pki {
    /// With a certificate for a node on loopback, and one for the client `root`, who may do everything.
    pub(crate) fn new() -> Self {
        Self::named("test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let pki = Self(TestPki::new(name));
        pki.issue_server(&["127.0.0.1"], NEW);
        pki.issue_client("root", NEW);
        pki.allow("p, root, *, *\n");
        pki
    }

    /// Makes the server's certificate anew.
    pub(crate) fn issue_server(&self, addresses: &[&str], age: Duration) {
        drop(self.0.issue_node("varve", NODE, addresses, age));
    }

    /// Makes a client's certificate, perhaps anew.
    pub(crate) fn issue_client(&self, name: &str, age: Duration) {
        drop(self.0.issue_client(name, age));
    }

    /// Writes a policy.
    pub(crate) fn allow(&self, rules: &str) {
        self.0.write("policy.csv", rules);
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path(file)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.dir()
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
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

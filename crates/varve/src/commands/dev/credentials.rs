//! What the cluster is secured by: a CA of its own, certificates that it issued, and a policy.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use varve_cert::{
    Authority, AuthorityError, CertificateDir, ClientRequest, ClusterName, CommonName, Description,
    DirectoryError, ENDS_SOON, Existing, Issued, NodeName, ServerAddress, ServerRequest, Validity,
};

use crate::failure::{Exit, Failure};
use crate::tls::TlsSettings;

/// Who may do everything.
const ROOT: &str = "root";
/// Who may do nothing.
const NOBODY: &str = "nobody";

/// How long a CA has to be good for what it issues now, which is good for a year.
const AUTHORITY_LEFT_MIN: Duration = Duration::from_secs(2 * 366 * 24 * 60 * 60);

const CERTIFICATES_DIR: &str = "certs";
const POLICY_FILE: &str = "policy.csv";
const POLICY: &str = "\
# Who may do what: p, SUBJECT, TOPIC, ACTION. Edit it while the cluster runs: it is read again.
p, root, *, *
";

/// The files, which are there.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    dir: CertificateDir,
    policy: PathBuf,
}

impl Credentials {
    /// Makes what is missing in the directory of a cluster of these nodes, and anew what ends soon. A policy that is there stays.
    ///
    /// # Errors
    /// If files cannot be read or written.
    pub(super) fn prepare(home: &Path, nodes: &[String]) -> Result<Self, Failure> {
        let dir = CertificateDir::create(&home.join(CERTIFICATES_DIR)).map_err(|error| failed(&error))?;
        let credentials = Self { dir, policy: home.join(POLICY_FILE) };
        let now = SystemTime::now();
        let (authority, is_new) = credentials.authority(now)?;
        for node in nodes {
            credentials.keep(node, is_new, now, || issue_node(&authority, node, now))?;
        }
        for name in [ROOT, NOBODY] {
            credentials.keep(name, is_new, now, || issue_client(&authority, name, now))?;
        }
        credentials.keep_policy()?;
        Ok(credentials)
    }

    /// The settings of a node.
    pub(super) fn settings(&self, node: &str) -> Vec<(&'static str, String)> {
        let TlsSettings { ca_file, cert_file, key_file, .. } = self.of(node);
        vec![
            ("--server-tls-ca-file", ca_file.display().to_string()),
            ("--server-tls-cert-file", cert_file.display().to_string()),
            ("--server-tls-key-file", key_file.display().to_string()),
            ("--acl-policy-file", self.policy.display().to_string()),
        ]
    }

    /// How who may do everything speaks to the cluster.
    pub(super) fn root(&self) -> TlsSettings {
        self.of(ROOT)
    }

    /// How who may do nothing speaks to it.
    pub(super) fn nobody(&self) -> TlsSettings {
        self.of(NOBODY)
    }

    /// Who may do what.
    pub(super) fn policy(&self) -> &Path {
        &self.policy
    }

    fn of(&self, name: &str) -> TlsSettings {
        TlsSettings {
            ca_file: self.dir.file(varve_cert::AUTHORITY_FILE),
            cert_file: self.certificate(name),
            key_file: self.dir.file(&format!("{name}-key.pem")),
            server_name: None,
        }
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.dir.file(&format!("{name}.pem"))
    }

    /// The authority, and whether it was made only now, so that nothing by another is of use.
    fn authority(&self, now: SystemTime) -> Result<(Authority, bool), Failure> {
        if lasts(&self.dir.file(varve_cert::AUTHORITY_FILE), AUTHORITY_LEFT_MIN, now) {
            let authority = self.dir.authority().map_err(|error| failed(&error).hint(self.begin_anew()))?;
            return Ok((authority, false));
        }
        let name = CommonName::new("varve dev").map_err(unexpected)?;
        let authority =
            Authority::generate(&name, Validity::AUTHORITY, now).map_err(|error| not_made(&error))?;
        self.dir.write_authority(&authority, Existing::Replace).map_err(|error| failed(&error))?;
        Ok((authority, true))
    }

    /// Leaves a certificate that is good for a while with its key, and else makes both.
    fn keep(
        &self,
        name: &str,
        of_another: bool,
        now: SystemTime,
        issue: impl FnOnce() -> Result<Issued, Failure>,
    ) -> Result<(), Failure> {
        let TlsSettings { cert_file, key_file, .. } = self.of(name);
        if !of_another && key_file.exists() && lasts(&cert_file, ENDS_SOON, now) {
            return Ok(());
        }
        self.dir.write_issued(name, &issue()?, Existing::Replace).map_err(|error| failed(&error))?;
        Ok(())
    }

    fn keep_policy(&self) -> Result<(), Failure> {
        let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&self.policy);
        match made.and_then(|mut file| file.write_all(POLICY.as_bytes())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Failure::file("write", self.policy.display(), &error))
            }
            _ => Ok(()),
        }
    }

    fn begin_anew(&self) -> String {
        format!("remove {} to have all certificates made anew", self.dir.file("").display())
    }
}

fn issue_node(authority: &Authority, node: &str, now: SystemTime) -> Result<Issued, Failure> {
    let mut request = ServerRequest::new(ClusterName::default(), NodeName::new(node).map_err(unexpected)?);
    for address in ["127.0.0.1", "::1", "localhost"] {
        request.addresses.push(address.parse::<ServerAddress>().map_err(unexpected)?);
    }
    authority.issue_server(&request, now).map_err(|error| not_made(&error))
}

fn issue_client(authority: &Authority, name: &str, now: SystemTime) -> Result<Issued, Failure> {
    let request = ClientRequest::new(CommonName::new(name).map_err(unexpected)?);
    authority.issue_client(&request, now).map_err(|error| not_made(&error))
}

/// Whether a certificate is there, and good for so long still.
fn lasts(file: &Path, left: Duration, now: SystemTime) -> bool {
    let chain = varve_cert::read(file).ok().and_then(|pem| varve_cert::certificates(&pem).ok());
    let first = chain.as_ref().and_then(|chain| chain.first());
    let description = first.and_then(|der| Description::of(der, now).ok());
    description.is_some_and(|description| SystemTime::from(description.not_after) > now + left)
}

fn failed(error: &DirectoryError) -> Failure {
    match error {
        DirectoryError::Read { path, source } => Failure::file("read", path.display(), source),
        DirectoryError::Write { path, source } => Failure::file("write", path.display(), source),
        _ => Failure::new(Exit::General, error.to_string()),
    }
}

fn not_made(error: &AuthorityError) -> Failure {
    Failure::new(Exit::General, format!("cannot make a certificate: {error}"))
}

/// Names and addresses of ours are good ones.
fn unexpected(error: impl Display) -> Failure {
    Failure::new(Exit::General, format!("{error}; report this"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn nodes() -> Vec<String> {
        vec!["node-1".into(), "node-2".into()]
    }

    fn contents(home: &Path) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(home.join(CERTIFICATES_DIR)).expect("made");
        let mut files: Vec<_> = files
            .map(|file| {
                let path = file.expect("a file").path();
                let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
                (name, std::fs::read(&path).expect("readable"))
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn what_is_there_is_used_again_and_private() {
        let home = tempfile::tempdir().expect("a directory");
        let made = Credentials::prepare(home.path(), &nodes()).expect("made");
        let before = contents(home.path());
        assert_eq!(before.len(), 2 * 5);
        for (name, _) in before.iter().filter(|(name, _)| name.ends_with("-key.pem")) {
            let metadata = std::fs::metadata(home.path().join(CERTIFICATES_DIR).join(name)).expect("there");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        }
        let dir = std::fs::metadata(home.path().join(CERTIFICATES_DIR)).expect("there");
        assert_eq!(dir.permissions().mode() & 0o777, 0o700);
        std::fs::write(made.policy(), "p, mine, *, *\n").expect("written");
        Credentials::prepare(home.path(), &nodes()).expect("there");
        assert_eq!(contents(home.path()), before);
        assert_eq!(std::fs::read_to_string(made.policy()).expect("there"), "p, mine, *, *\n");
        made.root().open().expect("good for TLS");
        made.nobody().open().expect("good for TLS");
    }

    #[test]
    fn what_is_missing_or_ends_soon_is_made_anew() {
        let home = tempfile::tempdir().expect("a directory");
        let made = Credentials::prepare(home.path(), &nodes()).expect("made");
        let before = contents(home.path());
        std::fs::remove_file(made.root().key_file).expect("there");
        let authority = made.dir.authority().expect("there");
        let mut request = ClientRequest::new(CommonName::new(NOBODY).expect("a good name"));
        request.validity = Validity::of_certificate(Duration::from_secs(3600)).expect("long enough");
        let short = authority.issue_client(&request, SystemTime::now()).expect("issued");
        made.dir.write_issued(NOBODY, &short, Existing::Replace).expect("written");
        Credentials::prepare(home.path(), &nodes()).expect("made");
        let changed = |before: &[(String, Vec<u8>)]| -> Vec<String> {
            let now = contents(home.path());
            now.into_iter().filter(|file| !before.contains(file)).map(|(name, _)| name).collect()
        };
        assert_eq!(changed(&before), ["nobody-key.pem", "nobody.pem", "root-key.pem", "root.pem"]);
        assert!(lasts(&made.nobody().cert_file, ENDS_SOON, SystemTime::now()));

        std::fs::remove_file(made.root().ca_file).expect("there");
        Credentials::prepare(home.path(), &nodes()).expect("made");
        assert_eq!(changed(&before).len(), 10, "of another authority nothing is of use");
        made.root().open().expect("good for TLS");
    }
}

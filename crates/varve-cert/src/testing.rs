//! An authority for tests of whatever speaks TLS, with a directory of what it issues. Everything is good for an hour from when it
//! was made, which a test may say is longer ago.
//!
//! Nothing here is meant for anything else: it panics where a test should fail.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::{
    AUTHORITY_FILE, Authority, AuthorityError, CertificateDir, ClientRequest, ClusterName, CommonName,
    Existing, Issued, NodeName, Revocations, ServerRequest, Validity, Written, certificates, read,
};

/// Made just now.
pub const NEW: Duration = Duration::ZERO;
/// Made so long ago that what is good for an hour has ended.
pub const EXPIRED: Duration = Duration::from_secs(2 * 3600);

/// An authority, and a directory with what it has issued.
#[derive(Debug)]
pub struct TestPki {
    authority: Authority,
    dir: CertificateDir,
    home: tempfile::TempDir,
}

impl TestPki {
    /// An authority of this name, in a directory of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let home = tempfile::tempdir().expect("a test has room for files");
        let dir = CertificateDir::create(&home.path().join("certs")).expect("a directory in it");
        let name = CommonName::new(name).expect("a good name");
        let authority =
            Authority::generate(&name, Validity::AUTHORITY, SystemTime::now()).expect("an authority");
        dir.write_authority(&authority, Existing::Keep).expect("its files are written");
        Self { authority, dir, home }
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A file of the directory.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.file(file)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path(AUTHORITY_FILE)
    }

    /// The directory of its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory above, which goes with this.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The certificate of a node of a cluster, perhaps anew; in files named for both, but for the cluster of this default.
    pub fn issue_node(&self, cluster: &str, node: &str, addresses: &[&str], age: Duration) -> Written {
        let cluster = ClusterName::new(cluster).expect("a good name");
        let file =
            if cluster == ClusterName::default() { node.to_owned() } else { format!("{cluster}-{node}") };
        let mut request = ServerRequest::new(cluster, NodeName::new(node).expect("a good name"));
        request.addresses = addresses.iter().map(|addr| addr.parse().expect("a good address")).collect();
        request.validity = hour();
        self.keep(
            &file,
            &self.authority.issue_server(&request, SystemTime::now() - age).expect("it is issued"),
        )
    }

    /// The certificate of a client, perhaps anew.
    pub fn issue_client(&self, name: &str, age: Duration) -> Written {
        let request = ClientRequest { name: CommonName::new(name).expect("a good name"), validity: hour() };
        self.keep(
            name,
            &self.authority.issue_client(&request, SystemTime::now() - age).expect("it is issued"),
        )
    }

    /// A list that revokes these certificates and no others, made so long ago; in the place of the one before.
    pub fn revoke(&self, files: &[&Path], age: Duration) -> PathBuf {
        let (mut revocations, now) = (Revocations::default(), SystemTime::now());
        for file in files {
            for der in certificates(&read(file).expect("it is there")).expect("it holds certificates") {
                revocations.revoke(&der, &self.authority, now).expect("it is one of this authority");
            }
        }
        let validity = Validity::of_revocations(Duration::from_secs(3600)).expect("long enough");
        let list = revocations.sign(&self.authority, validity, now - age).expect("it is signed");
        self.dir.write_revocations(&list).expect("it is written")
    }

    /// Puts a file in place as a whole.
    pub fn write(&self, file: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).expect("a test has room for files");
        std::fs::rename(new, self.path(file)).expect("it stays in its directory");
    }

    fn keep(&self, name: &str, issued: &Issued) -> Written {
        self.dir.write_issued(name, issued, Existing::Replace).expect("its files are written")
    }
}

/// An authority whose keys, and those of what it issues, are Ed25519's. Their signatures are all of one length, so that handshakes are
/// too, which ECDSA's are not: for a simulation, whose runs are to be alike although keys are not.
///
/// # Errors
/// As [`Authority::generate`].
pub fn authority_of_one_length(
    name: &CommonName,
    validity: Validity,
    now: SystemTime,
) -> Result<Authority, AuthorityError> {
    Authority::generate_with(&rcgen::PKCS_ED25519, name, validity, now)
}

fn hour() -> Validity {
    Validity::of_certificate(Duration::from_secs(3600)).expect("long enough")
}

//! Whom a secured cluster lets in: certificates, and a policy.
//!
//! No seed decides the keys: `ring` has its chance from the kernel, past the `getrandom` of the binary. All that is made of them has
//! one length, and nobody looks at more than that, so that runs of a seed are alike all the same.

use super::load::HOSTS;
use super::plan::{Plan, name_of};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use varve_cert::testing::authority_of_one_length;
use varve_cert::{
    AUTHORITY_FILE, Authority, CertificateDir, ClientRequest, ClusterName, CommonName, Existing, NodeName,
    ServerRequest, Validity,
};
use varve_server::{AclFiles, SecurityConfig};
use varve_tls::{ClientTls, ClientTlsSettings, ServerTlsSettings, TlsError, TlsFiles, TlsVersion};

/// The subject that makes the topics.
pub(super) const FOUNDER: &str = "founder";
/// The subject that looks whether all is well again.
pub(super) const HEALER: &str = "healer";
/// A subject for which there is no rule.
pub(super) const STRANGER: &str = "stranger";

/// Who may do what: the hosts of clients what they do, and no more.
const POLICY: &str = "\
p, founder, *, *
p, healer, *, *
p, apps, events, produce
p, apps, events, consume
p, apps, audit, produce
p, apps, audit, consume
g, client-1, apps
g, client-2, apps
p, client-2, *, admin
";
const POLICY_FILE: &str = "policy.csv";

/// How long ago certificates were made: longer than any wall clock is off.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// A connection lives so long at most, so that many a run has some that end of age.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(10);
/// How often files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A directory with certificates and a policy, on the disk of the real machine. A clone is another handle.
#[derive(Clone, Debug)]
pub(super) struct Certificates(Rc<Issuer>);

#[derive(Debug)]
struct Issuer {
    dir: CertificateDir,
    authority: Authority,
    made: SystemTime,
}

impl Certificates {
    /// Issues one to each node that there will be, and to each client.
    pub(super) fn issue(dir: &Path, plan: &Plan) -> Result<Self, Box<dyn Error>> {
        let dir = CertificateDir::create(dir)?;
        let made = SystemTime::now() - AGE;
        let authority = authority_of_one_length(&CommonName::new("authority")?, Validity::AUTHORITY, made)?;
        fs::write(dir.file(AUTHORITY_FILE), authority.certificate_pem())?;
        fs::write(dir.file(POLICY_FILE), POLICY)?;
        let certificates = Self(Rc::new(Issuer { dir, authority, made }));
        for name in (1..=plan.nodes_in_the_end()).map(name_of) {
            certificates.issue_to_node(&name)?;
        }
        let Issuer { dir, authority, made } = &*certificates.0;
        for name in HOSTS.into_iter().chain([FOUNDER, HEALER, STRANGER]) {
            let request = ClientRequest::new(CommonName::new(name)?);
            dir.write_issued(name, &authority.issue_client(&request, *made)?, Existing::Keep)?;
        }
        Ok(certificates)
    }

    /// Issues one to a node, in the place of the one before if there is one.
    pub(super) fn issue_to_node(&self, name: &str) -> Result<(), Box<dyn Error>> {
        let Issuer { dir, authority, made } = &*self.0;
        let request = ServerRequest::new(ClusterName::default(), NodeName::new(name)?);
        dir.write_issued(name, &authority.issue_server(&request, *made)?, Existing::Replace)?;
        Ok(())
    }

    /// What secures a node.
    pub(super) fn of_node(&self, name: &str) -> SecurityConfig {
        let files = self.files(name);
        SecurityConfig {
            tls: ServerTlsSettings {
                server: files.clone(),
                peer: files,
                crl: None,
                min_version: TlsVersion::default(),
            },
            acl: AclFiles { model: None, policy: self.0.dir.file(POLICY_FILE) },
            connection_age_max: CONNECTION_AGE_MAX,
            reload_interval: RELOAD_INTERVAL,
        }
    }

    /// What a client shows.
    pub(super) fn of_client(&self, name: &str) -> Result<ClientTls, TlsError> {
        ClientTls::open(ClientTlsSettings { files: self.files(name), server_name: None })
    }

    /// Whose servers are believed.
    pub(super) fn authority(&self) -> PathBuf {
        self.0.dir.file(AUTHORITY_FILE)
    }

    fn files(&self, name: &str) -> TlsFiles {
        let file = |name: String| self.0.dir.file(&name);
        TlsFiles {
            cert: file(format!("{name}.pem")),
            key: file(format!("{name}-key.pem")),
            ca: self.authority(),
        }
    }
}

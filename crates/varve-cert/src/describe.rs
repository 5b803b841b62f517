//! What a certificate says, and what is wrong with it.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

use crate::identity::{IdentityError, Subject, node_in, parse, subject_in};
use crate::node_uri::NodeUri;

/// How long before its end a certificate should be replaced.
pub const ENDS_SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const RSA_BITS_MIN: usize = 2048;

/// What a certificate says, for people.
#[derive(Clone, Debug)]
pub struct Description {
    /// What it is for.
    pub role: Role,
    /// Whom a policy sees in it; `None` where it names nobody, or is an authority's.
    pub subject: Option<Subject>,
    /// Its distinguished name.
    pub name: String,
    /// The distinguished name of whoever signed it.
    pub issuer: String,
    /// Its alternative names.
    pub addresses: Vec<String>,
    /// From when it is good.
    pub not_before: OffsetDateTime,
    /// Until when it is good.
    pub not_after: OffsetDateTime,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of it, in hexadecimal digits.
    pub fingerprint: String,
    /// The kind of its key.
    pub key: String,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs others.
    Authority,
    /// It is a node's.
    Node(NodeUri),
    /// It serves, and names no node: servers of clients can use it, and peers cannot.
    Server,
    /// It is a client's.
    Client,
    /// It is for something else.
    Other,
}

/// Something that is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// It is no longer good.
    #[error("it ended on {0}")]
    Expired(time::Date),
    /// It is not good yet.
    #[error("it begins on {0}, or the clock is wrong")]
    NotYet(time::Date),
    /// It ends before long.
    #[error("it ends in {days} days")]
    EndsSoon {
        /// Whole days.
        days: i64,
    },
    /// It names nobody that could be let in.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// Its key can be broken.
    #[error("its key is weak: {0}")]
    WeakKey(String),
    /// Its signature can be forged.
    #[error("its signature is weak: {0}")]
    WeakSignature(&'static str),
    /// A node's certificate lacks a purpose.
    #[error("it names a node, and is not for {0}: nodes both serve and call")]
    NodePurpose(&'static str),
    /// A node's certificate has no address.
    #[error("it has no host name or address that clients could check")]
    NoAddress,
}

impl Description {
    /// Describes a certificate (DER).
    ///
    /// # Errors
    ///
    /// It is no certificate.
    pub fn of(certificate: &[u8], now: SystemTime) -> Result<Self, IdentityError> {
        let parsed = parse(certificate)?;
        let node = node_in(&parsed);
        let role = role(&parsed, node.as_ref().ok().and_then(Option::as_ref));
        let subject = match role {
            Role::Authority => None,
            _ => Some(subject_in(&parsed)),
        };
        let mut findings = Vec::new();
        findings.extend(time_finding(&parsed, now));
        findings
            .extend(subject.as_ref().and_then(|subject| subject.as_ref().err().cloned().map(Finding::from)));
        let (key, weak_key) = key(&parsed);
        findings.extend(weak_key);
        findings.extend(weak_signature(&parsed));
        let addresses = addresses(&parsed);
        if let Role::Node(_) = role {
            findings.extend(node_findings(&parsed));
        }
        Ok(Self {
            role,
            subject: subject.and_then(Result::ok),
            name: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            addresses,
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            serial: hex(parsed.raw_serial()),
            fingerprint: hex(digest(&SHA256, certificate).as_ref()),
            key,
            findings,
        })
    }
}

impl Finding {
    /// Whether it works in spite of that, for now.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::EndsSoon { .. } | Self::NoAddress)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority => f.write_str("authority"),
            Self::Node(NodeUri { cluster, node }) => write!(f, "node {node} of cluster {cluster}"),
            Self::Server => f.write_str("server"),
            Self::Client => f.write_str("client"),
            Self::Other => f.write_str("neither server nor client"),
        }
    }
}

fn role(certificate: &X509Certificate<'_>, node: Option<&NodeUri>) -> Role {
    let (serves, calls) = purposes(certificate);
    match node {
        _ if certificate.is_ca() => Role::Authority,
        Some(node) => Role::Node(node.clone()),
        None if serves => Role::Server,
        None if calls => Role::Client,
        None => Role::Other,
    }
}

/// Whether it is for serving, and for calling. One that says nothing is for both.
fn purposes(certificate: &X509Certificate<'_>) -> (bool, bool) {
    match certificate.extended_key_usage() {
        Ok(None) => (true, true),
        Ok(Some(usage)) => {
            (usage.value.any || usage.value.server_auth, usage.value.any || usage.value.client_auth)
        }
        Err(_) => (false, false),
    }
}

fn node_findings(certificate: &X509Certificate<'_>) -> Vec<Finding> {
    let (serves, calls) = purposes(certificate);
    let mut findings = Vec::new();
    if !serves {
        findings.push(Finding::NodePurpose("serving"));
    }
    if !calls {
        findings.push(Finding::NodePurpose("calling others (client auth)"));
    }
    if !general_names(certificate)
        .iter()
        .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
    {
        findings.push(Finding::NoAddress);
    }
    findings
}

fn time_finding(certificate: &X509Certificate<'_>, now: SystemTime) -> Option<Finding> {
    let now = OffsetDateTime::from(now);
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    let left = until - now;
    if now < from {
        Some(Finding::NotYet(from.date()))
    } else if now > until {
        Some(Finding::Expired(until.date()))
    } else if left < ENDS_SOON && left * 3 < until - from {
        // One that lives for a day is not said to end soon all its life.
        Some(Finding::EndsSoon { days: left.whole_days() })
    } else {
        None
    }
}

fn key(certificate: &X509Certificate<'_>) -> (String, Option<Finding>) {
    let (name, is_weak) = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (format!("RSA {}", key.key_size()), key.key_size() < RSA_BITS_MIN),
        // Larger curves are named by their size alike.
        Ok(PublicKey::EC(point)) => (format!("ECDSA P-{}", point.key_size()), point.key_size() < 256),
        Ok(PublicKey::DSA(_)) => ("DSA".to_owned(), true),
        _ if certificate.public_key().algorithm.algorithm.to_id_string() == ED25519_OID => {
            ("Ed25519".to_owned(), false)
        }
        _ => ("unknown".to_owned(), false),
    };
    let finding = is_weak.then(|| Finding::WeakKey(name.clone()));
    (name, finding)
}

const ED25519_OID: &str = "1.3.101.112";

/// Signatures with hashes that collisions are known of.
const WEAK_SIGNATURES: [(&str, &str); 4] = [
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
];

fn weak_signature(certificate: &X509Certificate<'_>) -> Option<Finding> {
    // An authority's own signature proves nothing, whatever it is made with.
    if certificate.is_ca() && certificate.issuer() == certificate.subject() {
        return None;
    }
    let used = certificate.signature_algorithm.algorithm.to_id_string();
    let weak = WEAK_SIGNATURES.iter().find(|(oid, _)| *oid == used)?;
    Some(Finding::WeakSignature(weak.1))
}

fn general_names<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    match certificate.subject_alternative_name() {
        Ok(Some(names)) => &names.value.general_names,
        Ok(None) | Err(_) => &[],
    }
}

fn addresses(certificate: &X509Certificate<'_>) -> Vec<String> {
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
            // CFSSL writes an empty host name where it is given none.
            (!name.is_empty()).then(|| (*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => Some(ip(bytes).map_or_else(|| hex(bytes), |ip| ip.to_string())),
        _ => None,
    };
    general_names(certificate).iter().filter_map(shown).collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

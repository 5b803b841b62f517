//! What a certificate is made from, and what is made.

use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SerialNumber,
};
use zeroize::Zeroizing;

use crate::authority::AuthorityError;
use crate::common_name::{COMMON_NAME_CHARS_MAX, CommonName};
use crate::names::{ClusterName, NodeName};
use crate::node_uri::NodeUri;
use crate::san::ServerAddress;
use crate::validity::Validity;

/// Bytes of a serial number. RFC 5280 allows 20, and asks for what nobody can guess.
const SERIAL_BYTES: usize = 16;

/// A certificate for a node: good for serving, and for speaking to other nodes.
#[derive(Clone, Debug)]
pub struct ServerRequest {
    /// The cluster that it is a node of.
    pub cluster: ClusterName,
    /// The node. Its name is also a host name of the certificate, where it can be one.
    pub node: NodeName,
    /// What clients reach it by.
    pub addresses: Vec<ServerAddress>,
    /// For how long.
    pub validity: Validity,
}

/// A certificate for a client. It never names a node.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// The subject.
    pub name: CommonName,
    /// For how long.
    pub validity: Validity,
}

/// A private key as PEM (PKCS #8). Its memory is wiped when it is dropped, and it never shows in `Debug`.
#[derive(Clone)]
pub struct PrivateKeyPem(Zeroizing<String>);

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The same, without the armour.
    pub certificate_der: Vec<u8>,
    /// Its key.
    pub key: PrivateKeyPem,
}

impl ServerRequest {
    /// A request for a node of this cluster, good for a year, with no addresses yet.
    #[must_use]
    pub fn new(cluster: ClusterName, node: NodeName) -> Self {
        Self { cluster, node, addresses: Vec::new(), validity: Validity::CERTIFICATE }
    }

    pub(crate) fn params(&self) -> Result<CertificateParams, AuthorityError> {
        let mut params = leaf(&[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])?;
        // Longer than a common name may be, the node's name stands in the URI alone.
        if self.node.as_str().len() <= COMMON_NAME_CHARS_MAX {
            params.distinguished_name.push(DnType::CommonName, self.node.as_str());
        }
        let uri = NodeUri { cluster: self.cluster.clone(), node: self.node.clone() };
        params.subject_alt_names.push(SanType::URI(uri.to_string().try_into()?));
        let own_name = self.node.as_str().parse::<ServerAddress>().ok();
        let mut addresses: Vec<&ServerAddress> = Vec::new();
        for address in own_name.iter().chain(&self.addresses) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        for address in addresses {
            params.subject_alt_names.push(match address {
                ServerAddress::Host(name) => SanType::DnsName(name.as_str().try_into()?),
                ServerAddress::Ip(ip) => SanType::IpAddress(*ip),
            });
        }
        Ok(params)
    }
}

impl ClientRequest {
    /// A request for this subject, good for a year.
    #[must_use]
    pub fn new(name: CommonName) -> Self {
        Self { name, validity: Validity::CERTIFICATE }
    }

    pub(crate) fn params(&self) -> Result<CertificateParams, AuthorityError> {
        let mut params = leaf(&[ExtendedKeyUsagePurpose::ClientAuth])?;
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        Ok(params)
    }
}

impl PrivateKeyPem {
    /// Takes a key as it stands in a file.
    #[must_use]
    pub fn new(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// The key as text, to be written to a file that nobody else reads.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem")
    }
}

/// What all certificates for nodes and clients have in common.
fn leaf(purposes: &[ExtendedKeyUsagePurpose]) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes.to_vec();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

/// A serial number that nobody can guess: positive, and of the same length always.
pub(crate) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|source| AuthorityError::NoRandomness { reason: source.to_string() })?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

//! Whom a certificate names.

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::common_name::{CommonName, InvalidCommonName};
use crate::node_uri::{InvalidNodeUri, NodeUri, claims_to_be_a_node};

/// Longest URI that is taken for a subject, in bytes. A node's fits well.
pub const SUBJECT_URI_BYTES_MAX: usize = 256;

/// Who holds a certificate, as a policy names them: the certificate's URI, or its common name.
///
/// A common name never looks like a URI, so that neither can pass for the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

/// A certificate that does not say whose it is, or says it in a way that could be read in two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no certificate.
    #[error("it cannot be read as a certificate")]
    Unreadable,
    /// Its alternative names cannot be read, or there are two lists of them.
    #[error("its alternative names cannot be read")]
    AlternativeNames,
    /// There are several URIs among its alternative names.
    #[error("it has {count} URIs among its alternative names, and one at most can say whose it is")]
    SeveralUris {
        /// How many.
        count: usize,
    },
    /// Its URI is too long, or has characters that no URI has.
    #[error(
        "its URI is not one: it has a scheme, and up to {SUBJECT_URI_BYTES_MAX} visible ASCII characters"
    )]
    Uri,
    /// Its URI has the scheme of nodes and names none.
    #[error("its URI {uri:?} is of the scheme that is kept for nodes: {source}")]
    NodeUri {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        source: InvalidNodeUri,
    },
    /// It has neither a URI nor a common name.
    #[error("it has neither a URI among its alternative names nor a common name")]
    Nameless,
    /// It has several common names.
    #[error("it has {count} common names, and one alone can say whose it is")]
    SeveralCommonNames {
        /// How many.
        count: usize,
    },
    /// Its common name cannot be a subject.
    #[error("its common name is no subject: {0}")]
    CommonName(#[from] InvalidCommonName),
}

impl Subject {
    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&NodeUri> for Subject {
    fn from(uri: &NodeUri) -> Self {
        Self(uri.to_string())
    }
}

impl From<CommonName> for Subject {
    fn from(name: CommonName) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// Who holds this certificate (DER): the one URI among its alternative names; where there is none, its one common name.
///
/// # Errors
///
/// It names nobody, or it could be read in two ways.
pub fn subject_of(certificate: &[u8]) -> Result<Subject, IdentityError> {
    subject_in(&parse(certificate)?)
}

/// Which node this certificate (DER) is of; `None` for one that claims to be no node's.
///
/// # Errors
///
/// It has several URIs, or one of the scheme of nodes that names none.
pub fn node_of(certificate: &[u8]) -> Result<Option<NodeUri>, IdentityError> {
    node_in(&parse(certificate)?)
}

pub(crate) fn subject_in(certificate: &X509Certificate<'_>) -> Result<Subject, IdentityError> {
    match uri_in(certificate)? {
        Some(uri) => Ok(Subject(uri.to_owned())),
        None => common_name_in(certificate).map(Subject::from),
    }
}

pub(crate) fn node_in(certificate: &X509Certificate<'_>) -> Result<Option<NodeUri>, IdentityError> {
    uri_in(certificate)?.filter(|uri| claims_to_be_a_node(uri)).map(node_uri).transpose()
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        // What lies behind a certificate was never verified with it.
        Ok(_) | Err(_) => Err(IdentityError::Unreadable),
    }
}

/// The certificate's one URI, good for a subject.
fn uri_in<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a str>, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::AlternativeNames)?;
    let Some(names) = names else { return Ok(None) };
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            // It may have been meant for a URI.
            GeneralName::Invalid(..) => return Err(IdentityError::AlternativeNames),
            _ => {}
        }
    }
    match uris[..] {
        [] => Ok(None),
        [uri] => checked(uri).map(Some),
        _ => Err(IdentityError::SeveralUris { count: uris.len() }),
    }
}

fn checked(uri: &str) -> Result<&str, IdentityError> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let good = uri.len() <= SUBJECT_URI_BYTES_MAX
        && uri.bytes().all(|b| b.is_ascii_graphic())
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !good {
        return Err(IdentityError::Uri);
    }
    if claims_to_be_a_node(uri) {
        node_uri(uri)?;
    }
    Ok(uri)
}

fn node_uri(uri: &str) -> Result<NodeUri, IdentityError> {
    uri.parse().map_err(|source| IdentityError::NodeUri { uri: uri.to_owned(), source })
}

fn common_name_in(certificate: &X509Certificate<'_>) -> Result<CommonName, IdentityError> {
    let names: Vec<_> = certificate.subject().iter_common_name().collect();
    match names[..] {
        [] => Err(IdentityError::Nameless),
        [name] => Ok(CommonName::new(name.as_str().map_err(|_| InvalidCommonName::Encoding)?)?),
        _ => Err(IdentityError::SeveralCommonNames { count: names.len() }),
    }
}

#[cfg(test)]
mod tests;

//! What the files hold, parsed.

use crate::TlsError;
use crate::files::{read, read_key};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// A certificate with its chain and its key.
pub(crate) fn certified_key(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(cert)?;
    let bytes = read_key(key)?;
    let private =
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| pem_error(key, "private key", &error))?;
    let unusable =
        |error: rustls::Error| TlsError::Unusable { file: key.to_owned(), reason: error.to_string() };
    let signer = ring::default_provider().key_provider.load_private_key(private).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::KeyMismatch { cert: cert.to_owned(), key: key.to_owned() })
        }
        Err(error) => Err(TlsError::Unusable { file: cert.to_owned(), reason: error.to_string() }),
    }
}

/// The authorities in a file; at least one.
pub(crate) fn roots(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    roots_of(file, &certificates(file)?)
}

/// The same, of what was read from the file.
pub(crate) fn roots_of(
    file: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let unusable =
            |error: rustls::Error| TlsError::Unusable { file: file.to_owned(), reason: error.to_string() };
        roots.add(certificate.clone()).map_err(unusable)?;
    }
    Ok(Arc::new(roots))
}

/// The lists of revoked certificates in a file; at least one, each signed by an authority in one of `ca_files`: one of anybody
/// else would revoke nothing, and nobody would know. Gives also when the first of them ends, in seconds since 1970.
pub(crate) fn lists_of(
    file: &Path,
    ca_files: [&Path; 2],
) -> Result<(Vec<CertificateRevocationListDer<'static>>, Option<i64>), TlsError> {
    let lists = revocation_lists(file)?;
    let authorities = [certificates(ca_files[0])?, certificates(ca_files[1])?].concat();
    let unusable = |reason: String| TlsError::Unusable { file: file.to_owned(), reason };
    let mut ends = None;
    for list in &lists {
        let (_, parsed) = CertificateRevocationList::from_der(list.as_ref())
            .map_err(|_| unusable("a list of revoked certificates is malformed".to_owned()))?;
        let has_signed = |der: &CertificateDer<'_>| {
            X509Certificate::from_der(der).is_ok_and(|(_, authority)| {
                authority.subject() == parsed.issuer()
                    && parsed.verify_signature(authority.public_key()).is_ok()
            })
        };
        if !authorities.iter().any(has_signed) {
            return Err(unusable(format!(
                "none of the authorities in {} and {} has signed the list of {}",
                ca_files[0].display(),
                ca_files[1].display(),
                parsed.issuer()
            )));
        }
        let end = parsed.next_update().map(|end| end.timestamp());
        ends = [ends, end].into_iter().flatten().min();
    }
    Ok((lists, ends))
}

/// The lists of revoked certificates in a file; at least one.
fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    at_least_one(file, "list of revoked certificates", lists)
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    at_least_one(file, "certificate", certificates)
}

fn at_least_one<T>(
    file: &Path,
    what: &'static str,
    found: Result<Vec<T>, pem::Error>,
) -> Result<Vec<T>, TlsError> {
    let found = found.map_err(|error| pem_error(file, what, &error))?;
    if found.is_empty() {
        return Err(pem_error(file, what, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// Says what is wrong without a byte of the file: it may hold a key.
fn pem_error(file: &Path, what: &'static str, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "there is none",
        pem::Error::MissingSectionEnd { .. } => "a section does not end",
        pem::Error::IllegalSectionStart { .. } => "a section begins with a line that is none",
        pem::Error::Base64Decode(_) => "a section is no base64",
        _ => "it is malformed",
    };
    TlsError::Pem { file: file.to_owned(), what, reason: reason.to_owned() }
}

//! Certificates that are no longer to be trusted.

use std::time::SystemTime;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use crate::authority::{Authority, AuthorityError};
use crate::identity::parse;
use crate::validity::{Validity, date};

/// Most certificates of one list. A server reads all of it.
pub const REVOKED_MAX: usize = 10_000;

/// The certificates of an authority that were revoked. Signed and with an end to its validity it is what servers read, as PEM.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    revoked: Vec<Revoked>,
    /// The number of the list that this was read from: each list has a higher one than those before it.
    number: u64,
}

#[derive(Clone, Debug)]
struct Revoked {
    serial: Vec<u8>,
    at: OffsetDateTime,
    reason: Option<RevocationReason>,
}

/// A certificate cannot be revoked, or a list not read.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// What was given for a list is none.
    #[error("it cannot be read as a list of revocations: it should be one such list as PEM (BEGIN X509 CRL)")]
    UnreadableList,
    /// The list is not this authority's.
    #[error("the list of revocations was not signed by this authority")]
    AnothersList,
    /// What was given for a certificate is none.
    #[error("it cannot be read as a certificate")]
    UnreadableCertificate,
    /// The certificate is not this authority's.
    #[error("the certificate was not signed by this authority, which can therefore not revoke it")]
    AnothersCertificate,
    /// The certificate is the authority's own.
    #[error("an authority cannot revoke itself: take its certificate away wherever it is trusted")]
    Itself,
    /// There is no room.
    #[error("the list has {REVOKED_MAX} certificates already: make a new authority")]
    Full,
    /// Signing it failed.
    #[error(transparent)]
    Sign(#[from] AuthorityError),
}

impl Revocations {
    /// Reads a list that this authority signed, here or elsewhere.
    ///
    /// # Errors
    ///
    /// It cannot be read, was signed by another, or is too long.
    pub fn from_pem(pem: &str, authority: &Authority) -> Result<Self, RevocationError> {
        let mut blocks = Pem::iter_from_buffer(pem.as_bytes());
        let (Some(Ok(block)), None) = (blocks.next(), blocks.next()) else {
            return Err(RevocationError::UnreadableList);
        };
        let Ok(([], list)) = CertificateRevocationList::from_der(&block.contents) else {
            return Err(RevocationError::UnreadableList);
        };
        let signer =
            parse(authority.certificate_der()).map_err(|_| RevocationError::UnreadableCertificate)?;
        list.verify_signature(signer.public_key()).map_err(|_| RevocationError::AnothersList)?;
        let revoked: Vec<Revoked> = list.iter_revoked_certificates().map(Revoked::from).collect();
        if revoked.len() > REVOKED_MAX {
            return Err(RevocationError::Full);
        }
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        Ok(Self { revoked, number })
    }

    /// Adds a certificate (DER) of this authority. False if it is there already.
    ///
    /// # Errors
    ///
    /// It is no certificate of this authority, or there is no room.
    pub fn revoke(
        &mut self,
        certificate_der: &[u8],
        authority: &Authority,
        now: SystemTime,
    ) -> Result<bool, RevocationError> {
        let certificate = parse(certificate_der).map_err(|_| RevocationError::UnreadableCertificate)?;
        let signer =
            parse(authority.certificate_der()).map_err(|_| RevocationError::UnreadableCertificate)?;
        if certificate.raw_serial() == signer.raw_serial() && certificate.subject() == signer.subject() {
            return Err(RevocationError::Itself);
        }
        if !authority.has_signed(certificate_der) {
            return Err(RevocationError::AnothersCertificate);
        }
        let serial = significant(certificate.raw_serial()).to_vec();
        if self.revoked.iter().any(|revoked| revoked.serial == serial) {
            return Ok(false);
        }
        if self.revoked.len() == REVOKED_MAX {
            return Err(RevocationError::Full);
        }
        let at = date(now).ok_or(AuthorityError::Clock)?;
        self.revoked.push(Revoked { serial, at, reason: None });
        Ok(true)
    }

    /// How many certificates it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// The list as servers read it, signed and numbered anew.
    ///
    /// # Errors
    ///
    /// The authority may not sign lists, or the clock shows a time that none can say.
    pub fn sign(
        &mut self,
        authority: &Authority,
        validity: Validity,
        now: SystemTime,
    ) -> Result<String, RevocationError> {
        let (this_update, next_update) = validity.from(now).ok_or(AuthorityError::Clock)?;
        self.number += 1;
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: self.revoked.iter().map(Revoked::params).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(authority.sign_list(&params)?)
    }
}

impl Revoked {
    fn params(&self) -> RevokedCertParams {
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(&self.serial),
            revocation_time: self.at,
            reason_code: self.reason,
            invalidity_date: None,
        }
    }
}

impl From<&RevokedCertificate<'_>> for Revoked {
    fn from(entry: &RevokedCertificate<'_>) -> Self {
        Self {
            serial: significant(entry.raw_serial()).to_vec(),
            at: entry.revocation_date.to_datetime(),
            reason: entry.reason_code().and_then(|(_, code)| reason(code.0)),
        }
    }
}

/// Reason codes of RFC 5280, section 5.3.1.
fn reason(code: u8) -> Option<RevocationReason> {
    Some(match code {
        1 => RevocationReason::KeyCompromise,
        2 => RevocationReason::CaCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        6 => RevocationReason::CertificateHold,
        9 => RevocationReason::PrivilegeWithdrawn,
        10 => RevocationReason::AaCompromise,
        _ => return None,
    })
}

/// A number without the zeros that it begins with.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ClientRequest, CommonName};

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn authority() -> Authority {
        Authority::generate(&CommonName::new("Varve CA").unwrap(), Validity::AUTHORITY, now()).unwrap()
    }

    fn client(authority: &Authority, name: &str) -> Vec<u8> {
        let request = ClientRequest::new(CommonName::new(name).unwrap());
        authority.issue_client(&request, now()).unwrap().certificate_der
    }

    #[test]
    fn a_list_grows_and_is_numbered_anew() {
        let authority = authority();
        let (alice, bob) = (client(&authority, "alice"), client(&authority, "bob"));
        let mut list = Revocations::default();
        assert!(list.revoke(&alice, &authority, now()).unwrap());
        let first = list.sign(&authority, Validity::REVOCATIONS, now()).unwrap();
        let mut read = Revocations::from_pem(&first, &authority).unwrap();
        assert!(!read.revoke(&alice, &authority, now()).unwrap(), "it is there already");
        assert!(read.revoke(&bob, &authority, now()).unwrap());
        let second = read.sign(&authority, Validity::REVOCATIONS, now()).unwrap();

        let block = Pem::iter_from_buffer(second.as_bytes()).next().unwrap().unwrap();
        let (_, parsed) = CertificateRevocationList::from_der(&block.contents).unwrap();
        assert_eq!(u64::try_from(parsed.crl_number().unwrap()), Ok(2));
        let until = parsed.next_update().unwrap().timestamp();
        assert_eq!(until, 1_800_000_000 + 30 * 86_400, "it ends, so that an old one is not taken for ever");
        let serials: Vec<_> = parsed.iter_revoked_certificates().map(|entry| entry.raw_serial()).collect();
        let serial = |der: &[u8]| parse(der).unwrap().raw_serial().to_vec();
        assert_eq!(serials, [serial(&alice), serial(&bob)]);
    }

    #[test]
    fn what_is_not_the_authoritys_is_refused() {
        let (ours, theirs) = (authority(), authority());
        let mut list = Revocations::default();
        let refused = |result: Result<bool, RevocationError>| result.expect_err("it is not ours");
        let stranger = client(&theirs, "alice");
        assert!(matches!(
            refused(list.revoke(&stranger, &ours, now())),
            RevocationError::AnothersCertificate
        ));
        assert!(matches!(
            refused(list.revoke(ours.certificate_der(), &ours, now())),
            RevocationError::Itself
        ));
        assert!(matches!(
            refused(list.revoke(b"garbage", &ours, now())),
            RevocationError::UnreadableCertificate
        ));
        let signed = list.sign(&theirs, Validity::REVOCATIONS, now()).unwrap();
        assert!(matches!(Revocations::from_pem(&signed, &ours), Err(RevocationError::AnothersList)));
        for text in ["", "garbage", ours.certificate_pem()] {
            assert!(matches!(Revocations::from_pem(text, &ours), Err(RevocationError::UnreadableList)));
        }
    }
}

//! The authority that certificates of a cluster are made by.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use time::OffsetDateTime;
use x509_parser::pem::Pem;

use crate::common_name::CommonName;
use crate::identity::parse;
use crate::issue::{ClientRequest, Issued, PrivateKeyPem, ServerRequest, random_serial};
use crate::key_file::key_pair;
use crate::validity::Validity;

/// An authority: its certificate, and the key that signs others (ECDSA on P-256 where it is made here).
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    certificate_der: Vec<u8>,
    ends: OffsetDateTime,
    /// What the keys are for that go with what it issues.
    keys: &'static SignatureAlgorithm,
}

/// An authority, or a certificate by one, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The operating system gives no randomness.
    #[error("no randomness: {reason}")]
    NoRandomness {
        /// What it said.
        reason: String,
    },
    /// What was given for the authority's certificate is none.
    #[error("the authority's certificate cannot be read: it should be one certificate as PEM")]
    UnreadableCertificate,
    /// The certificate is no authority's.
    #[error("the certificate is no authority's: it may not sign others")]
    NoAuthority,
    /// What was given for the authority's key is none that can be read.
    #[error(
        "the authority's key cannot be read: it should be a private key as PEM, not encrypted: ECDSA on P-256 or P-384, Ed25519 or RSA"
    )]
    UnreadableKey,
    /// The key belongs to another certificate.
    #[error("the authority's key is not that of its certificate")]
    AnotherKey,
    /// It would still be good when the authority no longer is.
    #[error(
        "the authority's certificate ends on {ends}, before that of the new one: ask for a shorter time, or make a new authority"
    )]
    OutlivesAuthority {
        /// The last day of the authority's certificate.
        ends: time::Date,
    },
    /// The clock shows a time that no certificate can say.
    #[error("the clock shows a time that no certificate can say")]
    Clock,
    /// Making it failed in a way that has no name here.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Authority {
    /// Makes a new authority, whose certificate is called `name`.
    ///
    /// # Errors
    ///
    /// There is no randomness, or the clock shows a time that no certificate can say.
    pub fn generate(name: &CommonName, validity: Validity, now: SystemTime) -> Result<Self, AuthorityError> {
        Self::generate_with(&PKCS_ECDSA_P256_SHA256, name, validity, now)
    }

    /// The same, with keys for `keys` throughout.
    pub(crate) fn generate_with(
        keys: &'static SignatureAlgorithm,
        name: &CommonName,
        validity: Validity,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        // Nothing that it signs can sign others.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(random_serial()?);
        (params.not_before, params.not_after) = validity.from(now).ok_or(AuthorityError::Clock)?;
        let key = KeyPair::generate_for(keys)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            ends: params.not_after,
            keys,
            issuer: Issuer::new(params, key),
        })
    }

    /// Takes an authority that was made before, here or elsewhere.
    ///
    /// # Errors
    ///
    /// Certificate or key cannot be read, do not belong together, or are no authority's.
    pub fn from_pem(certificate_pem: &str, key: &PrivateKeyPem) -> Result<Self, AuthorityError> {
        let unreadable = || AuthorityError::UnreadableCertificate;
        let mut blocks = Pem::iter_from_buffer(certificate_pem.as_bytes());
        let (Some(Ok(pem)), None) = (blocks.next(), blocks.next()) else { return Err(unreadable()) };
        if pem.label != "CERTIFICATE" {
            return Err(unreadable());
        }
        let certificate = parse(&pem.contents).map_err(|_| unreadable())?;
        let may_sign = certificate.key_usage().map_err(|_| unreadable())?;
        if !certificate.is_ca() || may_sign.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(AuthorityError::NoAuthority);
        }
        let key = key_pair(key.as_str()).ok_or(AuthorityError::UnreadableKey)?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(AuthorityError::AnotherKey);
        }
        let ends = certificate.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&pem.contents.as_slice().into(), key)?;
        let certificate_pem = certificate_pem.to_owned();
        let keys = &PKCS_ECDSA_P256_SHA256;
        Ok(Self { issuer, certificate_pem, certificate_der: pem.contents, ends, keys })
    }

    /// Its certificate, which whoever is to trust it is given.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The same, without the armour.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyPem {
        PrivateKeyPem::new(self.issuer.key().serialize_pem())
    }

    /// Makes a node's certificate, with a key of its own.
    ///
    /// # Errors
    ///
    /// It would outlive the authority, or there is no randomness.
    pub fn issue_server(&self, request: &ServerRequest, now: SystemTime) -> Result<Issued, AuthorityError> {
        self.issue(request.params()?, request.validity, now)
    }

    /// Makes a client's certificate, with a key of its own.
    ///
    /// # Errors
    ///
    /// It would outlive the authority, or there is no randomness.
    pub fn issue_client(&self, request: &ClientRequest, now: SystemTime) -> Result<Issued, AuthorityError> {
        self.issue(request.params()?, request.validity, now)
    }

    /// Whether it has signed a certificate (DER).
    #[must_use]
    pub fn has_signed(&self, certificate: &[u8]) -> bool {
        let (Ok(certificate), Ok(signer)) = (parse(certificate), parse(&self.certificate_der)) else {
            return false;
        };
        certificate.issuer() == signer.subject()
            && certificate.verify_signature(Some(signer.public_key())).is_ok()
    }

    /// Signs a list of revocations, as PEM.
    pub(crate) fn sign_list(
        &self,
        params: &CertificateRevocationListParams,
    ) -> Result<String, AuthorityError> {
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        validity: Validity,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        (params.not_before, params.not_after) = validity.from(now).ok_or(AuthorityError::Clock)?;
        if params.not_after > self.ends {
            return Err(AuthorityError::OutlivesAuthority { ends: self.ends.date() });
        }
        let key = KeyPair::generate_for(self.keys)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key: PrivateKeyPem::new(key.serialize_pem()),
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate_pem).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

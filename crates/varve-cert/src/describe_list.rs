//! What a list of revocations says, and what is wrong with it.

use std::time::SystemTime;

use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::identity::IdentityError;

/// What a list of revocations says, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDescription {
    /// The distinguished name of the authority.
    pub issuer: String,
    /// When it was made.
    pub made: OffsetDateTime,
    /// Until when servers take it; `None` where it does not say.
    pub until: Option<OffsetDateTime>,
    /// How many certificates it revokes.
    pub revoked: usize,
    /// Whether it has ended, so that servers refuse it.
    pub has_ended: bool,
}

impl ListDescription {
    /// Describes a list (DER).
    ///
    /// # Errors
    ///
    /// It is no list.
    pub fn of(list: &[u8], now: SystemTime) -> Result<Self, IdentityError> {
        let Ok(([], list)) = CertificateRevocationList::from_der(list) else {
            return Err(IdentityError::Unreadable);
        };
        let until = list.next_update().map(|until| until.to_datetime());
        Ok(Self {
            issuer: list.issuer().to_string(),
            made: list.last_update().to_datetime(),
            until,
            revoked: list.iter_revoked_certificates().count(),
            has_ended: until.is_some_and(|until| until < OffsetDateTime::from(now)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use x509_parser::pem::Pem;

    use super::*;

    #[test]
    fn a_list_by_cfssl() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cfssl/crl.pem");
        let text = std::fs::read(path).unwrap();
        let der = Pem::iter_from_buffer(&text).next().unwrap().unwrap().contents;
        let made = ListDescription::of(&der, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(
            (made.issuer.as_str(), made.revoked, made.has_ended),
            ("O=Example, CN=Varve CA", 1, false)
        );
        let late = SystemTime::from(made.made) + Duration::from_secs(30 * 86_400);
        assert!(ListDescription::of(&der, late).unwrap().has_ended);
        assert_eq!(ListDescription::of(b"garbage", late), Err(IdentityError::Unreadable));
    }
}

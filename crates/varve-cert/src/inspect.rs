//! Files of certificates, whatever is in them.

use std::time::SystemTime;

use x509_parser::pem::Pem;

use crate::describe::Description;
use crate::describe_list::ListDescription;
use crate::identity::IdentityError;

/// Most certificates of one file.
pub const BLOCKS_MAX: usize = 64;

/// One thing in a file.
#[derive(Clone, Debug)]
pub enum Inspected {
    /// A certificate.
    Certificate(Box<Description>),
    /// A list of revocations.
    Revocations(ListDescription),
}

/// A file that holds something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// There is nothing in it.
    #[error("there is no certificate in it: it should be PEM (BEGIN CERTIFICATE)")]
    Nothing,
    /// There is a key in it.
    #[error("there is a private key in it, which is not shown")]
    PrivateKey,
    /// There is something else in it.
    #[error("there is something else in it: {label}")]
    Other {
        /// What it calls itself.
        label: String,
    },
    /// There are too many.
    #[error("there are more than {BLOCKS_MAX} certificates in it")]
    TooMany,
    /// The armour is broken.
    #[error("the PEM in it is broken")]
    Broken,
    /// What is in the armour is broken.
    #[error(transparent)]
    Unreadable(#[from] IdentityError),
}

/// Describes each certificate and list of a file (PEM).
///
/// # Errors
///
/// It holds something else, too much, or nothing.
pub fn inspect(text: &str, now: SystemTime) -> Result<Vec<Inspected>, InspectError> {
    let found = blocks(text)?.iter().map(|block| inspect_block(block, now)).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(InspectError::Nothing) } else { Ok(found) }
}

/// The certificates of a file (PEM), without their armour.
///
/// # Errors
///
/// It holds something else, too much, or nothing.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, InspectError> {
    let blocks = blocks(text)?;
    match blocks.iter().find(|block| block.label != "CERTIFICATE") {
        Some(other) => Err(InspectError::Other { label: other.label.clone() }),
        None if blocks.is_empty() => Err(InspectError::Nothing),
        None => Ok(blocks.into_iter().map(|block| block.contents).collect()),
    }
}

fn blocks(text: &str) -> Result<Vec<Pem>, InspectError> {
    let mut blocks = Vec::new();
    // Whatever stands before a block is left out, as openssl writes it there.
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        if blocks.len() == BLOCKS_MAX {
            return Err(InspectError::TooMany);
        }
        let block = block.map_err(|_| InspectError::Broken)?;
        if block.label.ends_with("PRIVATE KEY") {
            return Err(InspectError::PrivateKey);
        }
        blocks.push(block);
    }
    Ok(blocks)
}

fn inspect_block(block: &Pem, now: SystemTime) -> Result<Inspected, InspectError> {
    match block.label.as_str() {
        "CERTIFICATE" => Ok(Inspected::Certificate(Box::new(Description::of(&block.contents, now)?))),
        "X509 CRL" => Ok(Inspected::Revocations(ListDescription::of(&block.contents, now)?)),
        label => Err(InspectError::Other { label: label.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, CommonName, Validity};

    #[test]
    fn each_thing_in_a_file_is_found() {
        let now = SystemTime::now();
        let authority =
            Authority::generate(&CommonName::new("Varve CA").unwrap(), Validity::AUTHORITY, now).unwrap();
        let pem = authority.certificate_pem();
        let bundle = format!("# ours\n{pem}{pem}");
        assert_eq!(inspect(&bundle, now).unwrap().len(), 2);
        assert_eq!(certificates(&bundle).unwrap()[1], authority.certificate_der());
        let refused = |text: &str| inspect(text, now).unwrap_err();
        assert_eq!(refused(""), InspectError::Nothing);
        assert_eq!(refused("garbage\n"), InspectError::Nothing);
        assert_eq!(refused(authority.key().as_str()), InspectError::PrivateKey);
        assert_eq!(
            refused(&pem.replace("CERTIFICATE", "THING")),
            InspectError::Other { label: "THING".into() }
        );
        assert_eq!(refused(&pem.repeat(BLOCKS_MAX + 1)), InspectError::TooMany);
        assert_eq!(
            refused("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
            InspectError::Broken
        );
        let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(empty), InspectError::Unreadable(IdentityError::Unreadable));
    }
}

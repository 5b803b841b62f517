//! Private keys as they stand in files.

use rcgen::KeyPair;
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

/// What the key is of, as PKCS #8 says it (an `AlgorithmIdentifier`), where the file leaves it out: for SEC 1 a curve, P-256 and P-384.
const EC_ALGORITHMS: [&[u8]; 2] = [
    &[
        0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
        0x3d, 0x03, 0x01, 0x07,
    ],
    &[
        0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
        0x22,
    ],
];

/// The same for PKCS #1: RSA.
const RSA_ALGORITHMS: [&[u8]; 1] =
    [&[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]];

const INTEGER_ZERO: [u8; 3] = [0x02, 0x01, 0x00];
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;

/// Reads a key (PEM) as PKCS #8 (`PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`, as CFSSL writes it) or PKCS #1 (`RSA PRIVATE KEY`).
pub(crate) fn key_pair(pem: &str) -> Option<KeyPair> {
    let mut blocks = Pem::iter_from_buffer(pem.as_bytes());
    // `openssl ecparam -genkey` writes the curve before the key.
    let block = blocks.find_map(|block| block.ok().filter(|block| block.label.ends_with("PRIVATE KEY")))?;
    let der = Zeroizing::new(block.contents);
    let algorithms: &[&[u8]] = match block.label.as_str() {
        "PRIVATE KEY" => return KeyPair::try_from(der.as_slice()).ok(),
        "EC PRIVATE KEY" => &EC_ALGORITHMS,
        "RSA PRIVATE KEY" => &RSA_ALGORITHMS,
        _ => return None,
    };
    // The key of one curve is none of another's.
    algorithms.iter().find_map(|algorithm| KeyPair::try_from(pkcs8(algorithm, &der).as_slice()).ok())
}

/// `PrivateKeyInfo` of RFC 5208, section 5.
fn pkcs8(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = tagged(OCTET_STRING, &[key]);
    tagged(SEQUENCE, &[&INTEGER_ZERO, algorithm, &key])
}

/// A DER element of these contents.
fn tagged(tag: u8, contents: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let len: usize = contents.iter().map(|part| part.len()).sum();
    let len_bytes = len.to_be_bytes();
    let significant = &len_bytes[len.leading_zeros() as usize / 8..];
    // All of it at once: a buffer that grows would leave parts of the key behind.
    let mut der = Zeroizing::new(Vec::with_capacity(2 + significant.len() + len));
    der.push(tag);
    match significant {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            der.push(0x80 | long.len() as u8);
            der.extend_from_slice(long);
        }
    }
    contents.iter().for_each(|part| der.extend_from_slice(part));
    der
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData};

    use super::*;

    /// The same key as SEC 1, cut out of PKCS #8.
    fn sec1(key: &KeyPair) -> Vec<u8> {
        let pkcs8 = key.serialize_der();
        let version_and_one = [0x02, 0x01, 0x01, 0x04];
        let at = pkcs8.windows(4).position(|bytes| bytes == version_and_one).unwrap();
        // Its sequence begins right before, with a length of one byte or two.
        let start = if pkcs8[at - 2] == SEQUENCE { at - 2 } else { at - 3 };
        pkcs8[start..].to_vec()
    }

    fn armoured(label: &str, der: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in der.chunks(3) {
            let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for at in 0..4 {
                let digit = (word >> (18 - 6 * at) & 63) as usize;
                text.push(if at <= chunk.len() { char::from(alphabet[digit]) } else { '=' });
            }
        }
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn keys_of_each_form_are_read() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let ec = armoured("EC PRIVATE KEY", &sec1(&key));
            let with_parameters =
                format!("-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n{ec}");
            for pem in [key.serialize_pem(), ec, with_parameters] {
                let read = key_pair(&pem).expect(&pem);
                assert_eq!(read.subject_public_key_info(), key.subject_public_key_info());
            }
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let key = KeyPair::generate().unwrap();
        let cut = &sec1(&key)[..20];
        for pem in [
            String::new(),
            "garbage".into(),
            armoured("EC PRIVATE KEY", cut),
            armoured("EC PRIVATE KEY", &[]),
            armoured("RSA PRIVATE KEY", &sec1(&key)),
            armoured("ENCRYPTED PRIVATE KEY", &key.serialize_der()),
            armoured("CERTIFICATE", &key.serialize_der()),
        ] {
            assert!(key_pair(&pem).is_none(), "{pem}");
        }
    }

    #[test]
    fn lengths_are_written_as_der_has_them() {
        assert_eq!(tagged(4, &[]).as_slice(), [4, 0]);
        assert_eq!(tagged(4, &[&[7; 127]])[..2], [4, 127]);
        assert_eq!(tagged(4, &[&[7; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(tagged(4, &[&[7; 300]])[..4], [4, 0x82, 1, 44]);
    }
}

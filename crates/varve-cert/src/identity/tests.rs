use rcgen::string::{BmpString, Ia5String};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};
use x509_parser::pem::Pem;

use super::*;

/// The bytes of a certificate that CFSSL made (`tests/cfssl/make.sh`).
fn cfssl(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/cfssl/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(path).unwrap();
    Pem::iter_from_buffer(&text).next().unwrap().unwrap().contents
}

fn made(names: &[(DnType, DnValue)], sans: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in names {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.subject_alt_names = sans;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn named(common_name: &str) -> (DnType, DnValue) {
    (DnType::CommonName, DnValue::Utf8String(common_name.into()))
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

fn subject(certificate: &[u8]) -> String {
    subject_of(certificate).unwrap().to_string()
}

#[test]
fn the_uri_comes_before_the_common_name() {
    let node = made(&[named("admin")], vec![dns("a"), uri("varve://prod/node/node-1")]);
    assert_eq!(subject(&node), "varve://prod/node/node-1");
    assert_eq!(node_of(&node).unwrap().unwrap().to_string(), "varve://prod/node/node-1");
    let workload = made(&[named("admin")], vec![uri("spiffe://prod/ns/a/sa/b")]);
    assert_eq!(subject(&workload), "spiffe://prod/ns/a/sa/b");
    assert_eq!(node_of(&workload), Ok(None), "another scheme names no node");
    let client = made(&[(DnType::OrganizationName, "Example".into()), named("alice")], vec![dns("admin")]);
    assert_eq!(subject(&client), "alice");
    assert_eq!(node_of(&client), Ok(None));
}

#[test]
fn a_common_name_never_makes_a_node() {
    let pretender = made(&[named("varve://prod/node/node-1")], vec![]);
    assert_eq!(subject_of(&pretender), Err(InvalidCommonName::Uri.into()));
    assert_eq!(node_of(&pretender), Ok(None));
    let with_host = made(&[named("node-1")], vec![dns("varve://prod/node/node-1")]);
    assert_eq!(node_of(&with_host), Ok(None));
    assert_eq!(subject(&with_host), "node-1");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let two = made(&[named("a")], vec![uri("spiffe://a/b"), uri("varve://prod/node/node-1")]);
    assert_eq!(subject_of(&two), Err(IdentityError::SeveralUris { count: 2 }));
    assert_eq!(node_of(&two), Err(IdentityError::SeveralUris { count: 2 }));
    let common_name = DnType::CustomDnType(vec![2, 5, 4, 3]);
    let two = made(&[named("alice"), (common_name, "root".into())], vec![]);
    assert_eq!(subject_of(&two), Err(IdentityError::SeveralCommonNames { count: 2 }));
    let none = made(&[(DnType::OrganizationName, "Example".into())], vec![dns("a")]);
    assert_eq!(subject_of(&none), Err(IdentityError::Nameless));
}

#[test]
fn a_uri_of_our_scheme_names_a_node_or_nothing() {
    for text in
        ["varve://Prod/node/a", "VARVE://prod/node/a", "varve:root", "varve://prod/client/a", "varve:"]
    {
        let certificate = made(&[named("alice")], vec![uri(text)]);
        let (subject, node) = (subject_of(&certificate), node_of(&certificate));
        assert!(matches!(subject, Err(IdentityError::NodeUri { .. })), "{text}: {subject:?}");
        assert!(matches!(node, Err(IdentityError::NodeUri { .. })), "{text}: {node:?}");
    }
    let too_long = format!("spiffe://{}", "a".repeat(SUBJECT_URI_BYTES_MAX));
    for text in ["", "root", "://a", "1a://b", "a b://c", "spiffe://a b", "spiffe://a\0", &too_long] {
        let certificate = made(&[named("alice")], vec![uri(text)]);
        assert_eq!(subject_of(&certificate), Err(IdentityError::Uri), "{text:?}");
        assert_eq!(node_of(&certificate), Err(IdentityError::Uri), "{text:?}");
    }
}

#[test]
fn common_names_are_read_strictly() {
    use InvalidCommonName::{Empty, Encoding, Padded, TooLong, Unseen};
    let too_long = "a".repeat(65);
    for (name, problem) in
        [("", Empty), (" alice", Padded), ("root\0.example.com", Unseen), (too_long.as_str(), TooLong)]
    {
        assert_eq!(subject_of(&made(&[named(name)], vec![])), Err(problem.into()), "{name:?}");
    }
    let two_bytes_a_character = DnValue::BmpString(BmpString::try_from("root").unwrap());
    let certificate = made(&[(DnType::CommonName, two_bytes_a_character)], vec![]);
    assert_eq!(subject_of(&certificate), Err(Encoding.into()));
    let printable = DnValue::PrintableString("root".try_into().unwrap());
    assert_eq!(subject(&made(&[(DnType::CommonName, printable)], vec![])), "root");
}

#[test]
fn bytes_that_are_no_certificate() {
    let good = made(&[named("alice")], vec![uri("varve://prod/node/node-1")]);
    let longer = [good.as_slice(), &[0]].concat();
    for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &longer] {
        assert_eq!(subject_of(bytes), Err(IdentityError::Unreadable));
        assert_eq!(node_of(bytes), Err(IdentityError::Unreadable));
    }
    for len in 0..good.len() {
        assert!(subject_of(&good[..len]).is_err(), "cut at {len}");
    }
    // Whatever one byte is changed to, there is an answer and no panic.
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = good.clone();
            changed[at] ^= flip;
            let _ = (subject_of(&changed), node_of(&changed));
        }
    }
}

#[test]
fn certificates_by_cfssl() {
    for (name, expected) in [
        ("node-1", "varve://varve/node/node-1"),
        ("server", "node-1"),
        ("root", "root"),
        ("nobody", "nobody"),
    ] {
        assert_eq!(subject(&cfssl(name)), expected);
    }
    assert_eq!(subject(&cfssl("root-rsa")), "root");
    assert_eq!(node_of(&cfssl("node-1")).unwrap().unwrap().node.as_str(), "node-1");
    for name in ["server", "root", "root-rsa", "ca"] {
        assert_eq!(node_of(&cfssl(name)), Ok(None), "{name}");
    }
}

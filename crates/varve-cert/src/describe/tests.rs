use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};
use x509_parser::pem::Pem;

use super::*;
use crate::{Authority, ClientRequest, CommonName, ServerRequest, Validity};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn authority() -> Authority {
    Authority::generate(&CommonName::new("Varve CA").unwrap(), Validity::AUTHORITY, now()).unwrap()
}

fn cfssl(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/cfssl/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(path).unwrap();
    Pem::iter_from_buffer(&text).next().unwrap().unwrap().contents
}

#[test]
fn what_we_make_is_well() {
    let authority = authority();
    let described = Description::of(authority.certificate_der(), now()).unwrap();
    assert_eq!((described.role, described.subject, described.findings), (Role::Authority, None, vec![]));
    assert_eq!(described.key, "ECDSA P-256");
    assert_eq!(described.fingerprint.len(), 64);

    let mut request = ServerRequest::new("prod".parse().unwrap(), "node-1".parse().unwrap());
    request.addresses = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let node = authority.issue_server(&request, now()).unwrap();
    let described = Description::of(&node.certificate_der, now()).unwrap();
    assert_eq!(described.role.to_string(), "node node-1 of cluster prod");
    assert_eq!(described.addresses, ["varve://prod/node/node-1", "node-1", "127.0.0.1", "::1"]);
    assert_eq!((described.issuer.as_str(), described.findings), ("CN=Varve CA", vec![]));

    let client =
        authority.issue_client(&ClientRequest::new(CommonName::new("alice").unwrap()), now()).unwrap();
    let described = Description::of(&client.certificate_der, now()).unwrap();
    assert_eq!((described.role, described.findings), (Role::Client, vec![]));
    assert_eq!(described.subject.unwrap().as_str(), "alice");
    assert_eq!(described.serial.len(), 32);
}

#[test]
fn time_is_told() {
    let authority = authority();
    let request = ClientRequest::new(CommonName::new("alice").unwrap());
    let client = authority.issue_client(&request, now()).unwrap().certificate_der;
    let at = |time| Description::of(&client, time).unwrap().findings;
    assert_eq!(at(now() + days(300)), []);
    assert_eq!(at(now() + days(350)), [Finding::EndsSoon { days: 15 }]);
    assert!(matches!(at(now() + days(366))[..], [Finding::Expired(_)]));
    assert!(matches!(at(now() - days(1))[..], [Finding::NotYet(_)]));
    let short = ClientRequest { validity: Validity::of_certificate(days(1)).unwrap(), ..request };
    let short = authority.issue_client(&short, now()).unwrap().certificate_der;
    assert_eq!(Description::of(&short, now()).unwrap().findings, [], "it is meant to be short");
}

#[test]
fn what_is_amiss_is_told() {
    let node = SanType::URI("varve://prod/node/a".try_into().unwrap());
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(now() - days(1));
    params.subject_alt_names = vec![node.clone()];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap();
    let findings = Description::of(der.der(), now()).unwrap().findings;
    assert_eq!(findings, [Finding::NodePurpose("calling others (client auth)"), Finding::NoAddress]);
    params.subject_alt_names.push(node);
    let der = params.self_signed(&key).unwrap();
    let described = Description::of(der.der(), now()).unwrap();
    assert_eq!(described.findings, [Finding::Identity(IdentityError::SeveralUris { count: 2 })]);
    assert!(described.subject.is_none());
}

#[test]
fn certificates_by_cfssl() {
    let made_at = Description::of(&cfssl("ca"), now()).unwrap().not_before;
    let soon_after = SystemTime::from(made_at) + days(1);
    for (name, role, subject) in [
        ("ca", "authority", None),
        ("node-1", "node node-1 of cluster varve", Some("varve://varve/node/node-1")),
        ("server", "server", Some("node-1")),
        ("root", "client", Some("root")),
        ("root-rsa", "client", Some("root")),
    ] {
        let described = Description::of(&cfssl(name), soon_after).unwrap();
        assert_eq!(described.role.to_string(), role, "{name}");
        assert_eq!(described.subject.as_ref().map(Subject::as_str), subject, "{name}");
        assert_eq!(described.findings, [], "{name}");
    }
    assert_eq!(Description::of(&cfssl("root-rsa"), soon_after).unwrap().key, "RSA 2048");
    assert!(Description::of(&cfssl("root"), soon_after).unwrap().addresses.is_empty());
}

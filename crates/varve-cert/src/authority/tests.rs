use std::time::Duration;

use x509_parser::extensions::GeneralName;

use super::*;
use crate::{AuthorityError, BACKDATE, NodeUri, node_of, subject_of};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn now() -> SystemTime {
    NOW + Duration::from_secs(1_800_000_000)
}

fn authority() -> Authority {
    Authority::generate(&CommonName::new("Varve CA").unwrap(), Validity::AUTHORITY, now()).unwrap()
}

fn node_request(addresses: &[&str]) -> ServerRequest {
    let mut request = ServerRequest::new("prod".parse().unwrap(), "node-1".parse().unwrap());
    request.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    request
}

fn client_request(name: &str) -> ClientRequest {
    ClientRequest::new(CommonName::new(name).unwrap())
}

#[test]
fn an_authority_signs_certificates_and_lists_and_no_other_authority() {
    let authority = authority();
    let certificate = parse(authority.certificate_der()).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=Varve CA");
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
    assert!(certificate.name_constraints().unwrap().is_none());
    certificate.verify_signature(None).expect("it signed itself");
    let days = (certificate.validity().not_after.timestamp() - 1_800_000_000) / 86_400;
    assert_eq!(days, 3652, "ten years");
}

#[test]
fn a_nodes_certificate_serves_and_speaks_to_nodes() {
    let authority = authority();
    let request = node_request(&["127.0.0.1", "node-1", "Node-1.example", "::1", "127.0.0.1"]);
    let issued = authority.issue_server(&request, now()).unwrap();
    let certificate = parse(&issued.certificate_der).unwrap();
    let authority_certificate = parse(authority.certificate_der()).unwrap();
    certificate.verify_signature(Some(authority_certificate.public_key())).expect("the authority signed it");
    assert_eq!(certificate.issuer(), authority_certificate.subject());
    assert!(!certificate.is_ca());
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);

    let node = NodeUri { cluster: "prod".parse().unwrap(), node: "node-1".parse().unwrap() };
    assert_eq!(node_of(&issued.certificate_der).unwrap(), Some(node.clone()));
    assert_eq!(subject_of(&issued.certificate_der).unwrap().as_str(), node.to_string());
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    let uri = node.to_string();
    let expected = [
        GeneralName::URI(&uri),
        GeneralName::DNSName("node-1"),
        GeneralName::IPAddress(&[127, 0, 0, 1]),
        GeneralName::DNSName("node-1.example"),
        GeneralName::IPAddress(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    assert_eq!(names[..], expected, "each once, the node's own name among them");
}

#[test]
fn a_node_with_a_long_name_has_it_in_the_uri_alone() {
    let mut request = node_request(&[]);
    request.node = "n".repeat(128).parse().unwrap();
    let issued = authority().issue_server(&request, now()).unwrap();
    let certificate = parse(&issued.certificate_der).unwrap();
    assert_eq!(certificate.subject().iter().count(), 0);
    assert!(certificate.subject_alternative_name().unwrap().unwrap().critical, "RFC 5280, section 4.2.1.6");
    assert_eq!(node_of(&issued.certificate_der).unwrap().unwrap().node, request.node);
}

#[test]
fn a_clients_certificate_names_no_node_and_cannot_serve() {
    let issued = authority().issue_client(&client_request("alice"), now()).unwrap();
    let certificate = parse(&issued.certificate_der).unwrap();
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth && !purposes.any);
    assert_eq!(subject_of(&issued.certificate_der).unwrap().as_str(), "alice");
    assert_eq!(node_of(&issued.certificate_der), Ok(None));
    assert!(certificate.subject_alternative_name().unwrap().is_none());
}

#[test]
fn each_certificate_has_a_key_and_a_serial_number_of_its_own() {
    let authority = authority();
    let issued: Vec<_> =
        (0..3).map(|_| authority.issue_client(&client_request("a"), now()).unwrap()).collect();
    let parsed: Vec<_> = issued.iter().map(|issued| parse(&issued.certificate_der).unwrap()).collect();
    for (at, certificate) in parsed.iter().enumerate() {
        assert_eq!(certificate.raw_serial().len(), 16);
        for other in &parsed[at + 1..] {
            assert_ne!(certificate.raw_serial(), other.raw_serial());
            assert_ne!(certificate.public_key().raw, other.public_key().raw);
        }
    }
    assert!(!format!("{issued:?} {authority:?}").contains("PRIVATE"), "keys never show");
}

#[test]
fn it_begins_a_little_earlier_and_ends_before_its_authority() {
    let authority = authority();
    let issued = authority.issue_client(&client_request("a"), now()).unwrap();
    let certificate = parse(&issued.certificate_der).unwrap();
    let from = u64::try_from(certificate.validity().not_before.timestamp()).unwrap();
    assert_eq!(NOW + Duration::from_secs(from), now() - BACKDATE);
    let late = now() + Duration::from_secs(3_600 * 24 * 3_600);
    let refused = authority.issue_client(&client_request("a"), late);
    assert!(matches!(refused, Err(AuthorityError::OutlivesAuthority { .. })), "{refused:?}");
}

#[test]
fn an_authority_comes_back_from_its_files() {
    let made = authority();
    let read = Authority::from_pem(made.certificate_pem(), &made.key()).unwrap();
    let issued = read.issue_client(&client_request("alice"), now()).unwrap();
    let ca = parse(made.certificate_der()).unwrap();
    parse(&issued.certificate_der).unwrap().verify_signature(Some(ca.public_key())).expect("the same key");
}

#[test]
fn what_is_no_authority_is_refused_with_the_reason() {
    let made = authority();
    let refused = |certificate: &str, key: &PrivateKeyPem| {
        Authority::from_pem(certificate, key).expect_err("it is no authority")
    };
    let client = made.issue_client(&client_request("alice"), now()).unwrap();
    assert!(matches!(refused(&client.certificate_pem, &client.key), AuthorityError::NoAuthority));
    assert!(matches!(refused(made.certificate_pem(), &client.key), AuthorityError::AnotherKey));
    let garbage = PrivateKeyPem::new("garbage".into());
    assert!(matches!(refused(made.certificate_pem(), &garbage), AuthorityError::UnreadableKey));
    let two = format!("{}{}", made.certificate_pem(), made.certificate_pem());
    for text in ["", "garbage", made.key().as_str(), &two] {
        assert!(matches!(refused(text, &made.key()), AuthorityError::UnreadableCertificate), "{text}");
    }
}

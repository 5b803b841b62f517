use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use super::*;
use crate::{ClientRequest, CommonName, Validity, subject_of};

fn authority() -> Authority {
    Authority::generate(&CommonName::new("Varve CA").unwrap(), Validity::AUTHORITY, SystemTime::now())
        .unwrap()
}

fn client(authority: &Authority, name: &str) -> Issued {
    authority.issue_client(&ClientRequest::new(CommonName::new(name).unwrap()), SystemTime::now()).unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_written_is_read_and_private() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("made/certs");
    let dir = CertificateDir::create(&path).unwrap();
    assert_eq!(mode_of(&path), 0o700);
    let written = dir.write_authority(&authority(), Existing::Keep).unwrap();
    assert_eq!((mode_of(&written.certificate), mode_of(&written.key)), (0o644, 0o600));
    let read = CertificateDir::create(&path).unwrap().authority().unwrap();
    let issued = client(&read, "alice");
    let written = dir.write_issued("alice", &issued, Existing::Keep).unwrap();
    assert_eq!((mode_of(&written.certificate), mode_of(&written.key)), (0o644, 0o600));
    let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "nothing is left over: {names:?}");
}

#[test]
fn nothing_is_overwritten_unless_asked() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = CertificateDir::create(temporary.path()).unwrap();
    let authority = authority();
    dir.write_authority(&authority, Existing::Keep).unwrap();
    let refused = dir.write_authority(&authority, Existing::Keep);
    assert!(matches!(refused, Err(DirectoryError::Exists { .. })));
    // One of the two alone stands in the way too, and the other is not made.
    let orphan = dir.file("alice-key.pem");
    fs::write(&orphan, "mine").unwrap();
    let alice = client(&authority, "alice");
    let refused = dir.write_issued("alice", &alice, Existing::Keep);
    assert!(matches!(refused, Err(DirectoryError::Exists { path }) if path == orphan));
    assert_eq!(fs::read_to_string(&orphan).unwrap(), "mine");
    assert!(!dir.file("alice.pem").exists());
    let written = dir.write_issued("alice", &alice, Existing::Replace).unwrap();
    assert_eq!(mode_of(&written.key), 0o600, "whatever the old one had");
}

#[test]
fn names_of_other_files_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = CertificateDir::create(temporary.path()).unwrap();
    let issued = client(&authority(), "alice");
    for name in ["ca", "crl", "node-1-key", "", ".", "..", "../alice", "a/b", ".hidden"] {
        let refused = dir.write_issued(name, &issued, Existing::Replace);
        assert!(matches!(refused, Err(DirectoryError::Reserved { .. })), "{name}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_remedy() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = CertificateDir::create(temporary.path()).unwrap();
    let written = dir.write_authority(&authority(), Existing::Keep).unwrap();
    fs::set_permissions(&written.key, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = dir.authority().unwrap_err().to_string();
    assert!(refused.contains(&format!("chmod 600 {}", written.key.display())), "{refused}");
}

#[test]
fn a_list_of_revocations_is_kept_and_added_to() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = CertificateDir::create(temporary.path()).unwrap();
    let authority = authority();
    for (count, name) in ["alice", "bob"].into_iter().enumerate() {
        let mut list = dir.revocations(&authority).unwrap();
        assert_eq!(list.len(), count);
        let certificate = client(&authority, name).certificate_der;
        assert_eq!(subject_of(&certificate).unwrap().as_str(), name);
        list.revoke(&certificate, &authority, SystemTime::now()).unwrap();
        let pem = list.sign(&authority, Validity::REVOCATIONS, SystemTime::now()).unwrap();
        dir.write_revocations(&pem).unwrap();
    }
    assert_eq!(dir.revocations(&authority).unwrap().len(), 2);
    fs::write(dir.file(REVOCATIONS_FILE), "garbage").unwrap();
    assert!(matches!(dir.revocations(&authority), Err(DirectoryError::Revocations { .. })));
}

#[test]
fn files_that_are_no_authority_say_which() {
    let temporary = tempfile::tempdir().unwrap();
    let missing = CertificateDir::at(temporary.path()).authority().unwrap_err();
    assert!(matches!(missing, DirectoryError::Read { .. }), "{missing}");
    let dir = CertificateDir::create(temporary.path()).unwrap();
    dir.write_authority(&authority(), Existing::Keep).unwrap();
    fs::write(dir.file(AUTHORITY_FILE), authority().certificate_pem()).unwrap();
    let said = dir.authority().unwrap_err().to_string();
    assert!(said.ends_with("ca.pem: the authority's key is not that of its certificate"), "{said}");
}

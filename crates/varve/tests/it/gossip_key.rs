//! The key that gossip is encrypted with.

use std::os::unix::fs::PermissionsExt;

use crate::support::{run, varve};

#[test]
fn a_key_is_private_and_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gossip.key");
    let path = file.to_str().unwrap();
    let made = run(&mut varve(&["gossip", "keygen", path])).ok();
    assert!(made.stderr.contains(path) && made.stdout.is_empty());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim_end().len(), 44, "32 bytes in base64");

    let again = run(&mut varve(&["gossip", "keygen", path])).fails(6, "exists already");
    assert!(again.stderr.contains("hint: choose another file"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
    run(&mut varve(&["gossip", "keygen", "/nowhere/gossip.key"]))
        .fails(5, "cannot write /nowhere/gossip.key");
}

//! Certificates, from an authority to its list of revocations.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{run, varve};

const CFSSL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../varve-cert/tests/cfssl");

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A directory with an authority.
fn authority(dir: &Path) -> String {
    let certs = dir.join("certs").to_str().unwrap().to_owned();
    run(&mut varve(&["cert", "init", "--dir", &certs])).ok();
    certs
}

#[test]
fn an_authority_its_certificates_and_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let certs = authority(dir.path());
    let file = |name: &str| format!("{certs}/{name}");
    run(&mut varve(&[
        "cert",
        "issue",
        "--dir",
        &certs,
        "--server",
        "node-1",
        "--san",
        "127.0.0.1,a.example",
    ]))
    .ok();
    let made = run(&mut varve(&["cert", "issue", "--dir", &certs, "--client", "alice"])).ok();
    assert!(
        made.stdout.is_empty() && made.stderr.contains("alice-key.pem: client, until "),
        "{}",
        made.stderr
    );
    assert_eq!(mode(Path::new(&certs)), 0o700);
    for name in ["ca-key.pem", "gossip.key", "node-1-key.pem", "alice-key.pem"] {
        assert_eq!(mode(Path::new(&file(name))), 0o600, "{name}");
    }

    let shown = run(&mut varve(&[
        "cert",
        "show",
        &file("node-1.pem"),
        &file("alice.pem"),
        &file("ca-key.pem"),
        &file("ca.pem"),
        "-o",
        "json",
    ]))
    .ok()
    .json();
    assert_eq!(
        (&shown[0]["kind"], &shown[0]["subject"]),
        (&"node".into(), &"varve://varve/node/node-1".into())
    );
    assert_eq!((&shown[0]["cluster"], &shown[0]["node"]), (&"varve".into(), &"node-1".into()));
    assert_eq!(
        shown[0]["addresses"],
        serde_json::json!(["varve://varve/node/node-1", "node-1", "127.0.0.1", "a.example"])
    );
    assert_eq!((&shown[1]["kind"], &shown[1]["subject"]), (&"client".into(), &"alice".into()));
    assert_eq!((&shown[2]["kind"], &shown[2]["issuer"]), (&"authority".into(), &"CN=Varve CA".into()));
    let text = run(&mut varve(&["cert", "show", &file("node-1.pem")])).ok();
    assert!(text.text().contains("node-1.pem: node node-1 of cluster varve\n"), "{}", text.text());

    run(&mut varve(&["cert", "revoke", "--dir", &certs, &file("alice.pem")])).ok();
    let again =
        run(&mut varve(&["cert", "revoke", "--dir", &certs, &file("alice.pem"), "--valid", "90d"])).ok();
    assert!(again.stderr.contains("was revoked before"), "{}", again.stderr);
    let list = run(&mut varve(&["cert", "show", &file("crl.pem"), "-o", "json"])).ok().json();
    assert_eq!((&list[0]["kind"], &list[0]["revoked"]), (&"revocations".into(), &1.into()));
}

#[test]
fn nothing_is_written_over_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    let certs = authority(dir.path());
    let read = |name: &str| std::fs::read_to_string(format!("{certs}/{name}")).unwrap();
    let (ca, gossip) = (read("ca.pem"), read("gossip.key"));
    let again = run(&mut varve(&["cert", "init", "--dir", &certs])).fails(6, "ca.pem exists already");
    assert!(again.stderr.contains("hint: --force replaces it"), "{}", again.stderr);
    assert_eq!(read("ca.pem"), ca);
    let issue = ["cert", "issue", "--dir", &certs, "--client", "alice"];
    run(&mut varve(&issue)).ok();
    let alice = read("alice.pem");
    run(&mut varve(&issue)).fails(6, "exists already");
    assert_eq!(read("alice.pem"), alice);
    run(&mut varve(&[&issue[..], &["--force"]].concat())).ok();
    assert_ne!(read("alice.pem"), alice);
    run(&mut varve(&["cert", "init", "--dir", &certs, "--force"])).ok();
    assert!(read("ca.pem") != ca && read("gossip.key") == gossip, "the gossip key stays");
}

#[test]
fn what_is_given_away_lies_apart_from_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let certs = authority(dir.path());
    let out = dir.path().join("node-1");
    let out = out.to_str().unwrap();
    let read = |name: &str| std::fs::read_to_string(format!("{out}/{name}")).unwrap();
    let issue = ["cert", "issue", "--dir", &certs, "--out", out, "--if-missing"];
    let server = [&issue[..], &["--server", "node-1"]].concat();
    let client = [&issue[..], &["--client", "alice"]].concat();
    run(&mut varve(&client)).ok();
    assert!(!Path::new(&format!("{out}/gossip.key")).exists(), "clients have no part in gossip");
    run(&mut varve(&server)).ok();
    let mut names: Vec<_> = std::fs::read_dir(out)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["alice-key.pem", "alice.pem", "ca.pem", "gossip.key", "node-1-key.pem", "node-1.pem"]);
    for name in ["ca.pem", "gossip.key"] {
        assert_eq!(read(name), std::fs::read_to_string(format!("{certs}/{name}")).unwrap());
    }
    assert_eq!((mode(Path::new(out)), mode(Path::new(&format!("{out}/gossip.key")))), (0o700, 0o600));
    let (node, alice) = (read("node-1.pem"), read("alice.pem"));
    let again = run(&mut varve(&server)).ok();
    assert!(again.stderr.contains("kept node-1: node node-1 of cluster varve, until "), "{}", again.stderr);
    assert_eq!(read("node-1.pem"), node);
    // What was interrupted is made whole.
    std::fs::remove_file(format!("{out}/node-1.pem")).unwrap();
    run(&mut varve(&server)).ok();
    assert_ne!(read("node-1.pem"), node);
    let missing = format!("{out}/alice-key.pem");
    std::fs::remove_file(&missing).unwrap();
    run(&mut varve(&client)).fails(6, "alice-key.pem is not there");

    let kept = run(&mut varve(&["cert", "init", "--dir", &certs, "--if-missing"])).ok();
    assert!(kept.stderr.contains("kept the authority"), "{}", kept.stderr);
    run(&mut varve(&client)).fails(6, "alice-key.pem is not there");
    run(&mut varve(&["cert", "init", "--dir", &certs, "--force"])).ok();
    run(&mut varve(&client)).fails(6, "ca.pem exists already");
    std::fs::remove_file(format!("{out}/ca.pem")).unwrap();
    run(&mut varve(&client)).fails(6, "another authority has signed it");
    assert_eq!(read("alice.pem"), alice);
    run(&mut varve(&["cert", "issue", "--dir", &certs, "--out", out, "--client", "alice", "--force"])).ok();
    run(&mut varve(&client)).ok();
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let certs = authority(dir.path());
    let nowhere = dir.path().join("nowhere");
    let missing = run(&mut varve(&["cert", "issue", "--dir", nowhere.to_str().unwrap(), "--client", "a"]))
        .fails(5, "cannot read");
    assert!(missing.stderr.contains("hint: `varve cert init --dir DIR`"), "{}", missing.stderr);
    for (args, said) in [
        (&["--client", "a", "--server", "b"][..], "cannot be used with"),
        (&[], "required arguments"),
        (&["--client", "a", "--san", "b"], "cannot be used with"),
        (&["--client", "varve://varve/node/a"], "it looks like a URI"),
        (&["--server", "a b"], "is no name of a node"),
        (&["--server", "a", "--cluster", "A"], "is no name of a cluster"),
        (&["--server", "a", "--san", "b:8400"], "leave the port out"),
        (&["--client", "a", "--valid", "10000d"], "at most 1826d"),
        (&["--client", "ca"], "cannot be a certificate's name"),
        (&["--client", "../a"], "cannot be a certificate's name"),
    ] {
        run(&mut varve(&[&["cert", "issue", "--dir", &certs], args].concat())).fails(2, said);
    }
    let key = format!("{certs}/ca-key.pem");
    run(&mut varve(&["cert", "show", &key])).fails(2, "a private key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let shared = run(&mut varve(&["cert", "issue", "--dir", &certs, "--client", "a"]))
        .fails(2, "may be read by others");
    assert!(shared.stderr.contains("hint: run `chmod 600"), "{}", shared.stderr);
}

#[test]
fn certificates_by_cfssl_are_shown_and_not_ours_to_revoke() {
    let dir = tempfile::tempdir().unwrap();
    let certs = authority(dir.path());
    let root = format!("{CFSSL}/root.pem");
    // They end one day, which makes this 9.
    let shown = run(&mut varve(&["cert", "show", &root, "-o", "jsonl"]));
    let line: serde_json::Value = serde_json::from_str(shown.text().lines().next().unwrap()).unwrap();
    assert_eq!((&line["kind"], &line["subject"]), (&"client".into(), &"root".into()));
    run(&mut varve(&["cert", "revoke", "--dir", &certs, &root])).fails(2, "was not signed by this authority");
    assert!(!Path::new(&format!("{certs}/crl.pem")).exists());
}

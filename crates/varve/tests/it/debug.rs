//! `varve debug`.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::pki::Pki;
use crate::support::{Process, Server, run, varve, wait_until};

#[test]
fn what_a_server_logs_is_changed_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert!(server.run(&["debug", "log-level"]).ok().text().ends_with(" logs info\n"));
    let changed = server.run(&["debug", "log-level", "info,varve_server=debug"]).ok();
    assert!(changed.text().ends_with(" logs info,varve_server=debug (before: info)\n"), "{}", changed.text());
    server.run(&["debug", "log-level", "varve=loud"]).fails(2, "is no filter");
    server.run(&["debug", "log-level", "--node", "nobody"]).fails(5, "there is no server nobody");
    assert!(server.run(&["debug", "log-level"]).ok().text().ends_with(" logs info,varve_server=debug\n"));
}

#[test]
fn a_bundle_has_what_helps_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.produce(&["events"], b"a secret record\n");
    let bundle = dir.path().join("bundle.tar.gz");
    let path = bundle.to_str().unwrap();
    assert_eq!(server.run(&["debug", "bundle", "--file", path]).ok().text().trim(), path);
    assert_eq!(std::fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    server.run(&["debug", "bundle", "--file", path]).fails(1, "cannot write");
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let unpacked = Command::new("tar").arg("xzf").arg(&bundle).arg("-C").arg(&out).status();
    assert!(unpacked.unwrap().success());
    let folder = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert!(read("replicas.json").contains("\"topic\": \"events\""));
    assert!(read("settings.yaml").contains("data-dir: "));
    assert!(read("metrics.txt").contains("varve_produce_records_total 1\n"));
    assert!(read("log.txt").contains("node started"));
    assert!(read("files.tsv").contains("\tpartitions/"));
    assert!(read("server.json").contains("\"check\": \"placed\""));
    let all = run(Command::new("grep").arg("-r").arg("a secret record").arg(&out));
    assert_eq!(all.code, Some(1), "records are nobody else's affair: {}", all.text());
}

#[test]
fn who_may_not_administer_the_cluster_looks_into_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    pki.issue_client("nobody", Duration::ZERO);
    pki.allow("p, root, *, *\np, nobody, *, describe\n");
    let server = Server::start_secured(&dir.path().join("data"), &pki);
    let path = dir.path().join("bundle.tar.gz");
    for command in [&["log-level", "debug"][..], &["bundle", "-f", path.to_str().unwrap()], &["profile"]] {
        let mut asked = varve(&["debug"]);
        asked.args(command).env("VARVE_SERVER", &server.address).envs(pki.variables("nobody"));
        run(&mut asked).fails(4, "PERMISSION_DENIED");
        run(server.varve(&["debug"]).args(if command[0] == "profile" { &["log-level"] } else { command }))
            .ok();
        drop(std::fs::remove_file(&path));
    }
    assert!(!path.exists());
}

#[test]
fn a_profile_is_taken_of_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let lines = dir.path().join("lines");
    std::fs::write(&lines, "a line\n".repeat(200_000)).unwrap();
    // At work, so that there is something to be seen: again and again, until it was.
    let mut produce = server.varve(&["produce", "events"]);
    produce.arg(&lines).stdout(Stdio::null()).stderr(Stdio::null());
    let mut seen = String::new();
    wait_until("a stack", || {
        let _producing = Process::spawn(&mut produce);
        let profile = server.run(&["debug", "profile", "--seconds", "1", "--frequency", "500"]).ok();
        seen = profile.text().to_owned();
        !seen.is_empty()
    });
    for line in seen.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        assert!(!stack.is_empty() && count.parse::<u32>().is_ok(), "{line}");
    }
    server.run(&["debug", "profile", "--seconds", "0"]).fails(2, "--seconds");
}

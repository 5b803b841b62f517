//! `varve debug`.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::{Process, Server, run, wait_until};

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

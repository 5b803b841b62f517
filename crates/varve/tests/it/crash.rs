//! Servers that are killed, and servers that are stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use crate::support::{DEADLINE, Process, Server, run};

/// Lines of the file that is produced: about 30 MB.
const LINES: usize = 250_000;
/// Records at which the produce is under way, and far from done.
const MIDDLE: u64 = 20_000;

#[test]
fn what_was_acknowledged_before_a_kill_is_there_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (file, text) = lines_file(dir.path());
    let mut server = Server::start(&data);

    let mut command = server.varve(&["produce", "events", "-o", "json", "--timeout", "10s"]);
    command.arg(&file).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut produce = Process::spawn(&mut command);
    let stdout = produce.stdout();
    wait_for_records(&server, MIDDLE);
    server.process.kill();
    // It stops reading, and waits for the server no longer than it may.
    produce.signal("INT");
    assert_eq!(produce.wait().code(), Some(130));
    let summary: Vec<u8> = stdout.iter().flatten().collect();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let acknowledged = usize::try_from(summary["records"].as_u64().unwrap()).unwrap();
    assert_eq!(summary["interrupted"], true);

    let server = Server::start(&data);
    let kept = consumed(&server, dir.path());
    assert!(text.starts_with(&kept), "what is kept is no beginning of what was sent");
    let kept_lines = kept.iter().filter(|byte| **byte == b'\n').count();
    assert!(kept_lines >= acknowledged, "{kept_lines} of {acknowledged} acknowledged records are left");
    assert!(kept_lines as u64 >= MIDDLE, "only {kept_lines} records are left");
}

#[test]
fn a_produce_outlives_a_kill_of_its_server_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (file, text) = lines_file(dir.path());
    let mut server = Server::start(&data);
    let port = server.port().to_owned();

    let mut command = server.varve(&["produce", "events", "-o", "json", "--timeout", "100s"]);
    command.arg(&file).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut produce = Process::spawn(&mut command);
    let stdout = produce.stdout();
    wait_for_records(&server, MIDDLE);
    server.process.kill();
    let server = Server::start_with(&data, &["--rpc-port", &port]);
    assert_eq!(produce.wait().code(), Some(0));
    let summary: Vec<u8> = stdout.iter().flatten().collect();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["records"], LINES);
    assert!(consumed(&server, dir.path()) == text, "what is kept differs from what was sent");
}

#[test]
fn a_server_that_is_stopped_ends_well_and_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut server = Server::start(dir.path());
        server.produce(&["events"], format!("{round}\n").as_bytes());
        server.process.signal("TERM");
        assert_eq!(server.process.wait().code(), Some(0));
    }
    let server = Server::start(dir.path());
    assert_eq!(server.run(&["consume", "events"]).ok().text(), "0\n1\n2\n");
    assert_eq!(server.ready["node_id"], 1);
}

fn lines_file(dir: &Path) -> (PathBuf, Vec<u8>) {
    let line = |number: usize| format!("{number:09} {}\n", "x".repeat(number % 200));
    let text: String = (0..LINES).map(line).collect();
    let file = dir.join("lines");
    std::fs::write(&file, &text).unwrap();
    (file, text.into_bytes())
}

fn wait_for_records(server: &Server, count: u64) {
    let started = Instant::now();
    while server.end_of("events") < count {
        assert!(started.elapsed() < DEADLINE, "the produce does not come to {count} records");
    }
}

fn consumed(server: &Server, dir: &Path) -> Vec<u8> {
    let path = dir.join("consumed");
    let mut command = server.varve(&["consume", "events"]);
    let mut process = Process::spawn(command.stdout(File::create(&path).unwrap()));
    assert_eq!(process.wait().code(), Some(0));
    std::fs::read(path).unwrap()
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let data = dir.path().to_str().unwrap();
    let again = run(&mut server.varve(&["server", "--data-dir", data, "--rpc-port", "0"]));
    again.fails(6, data);
    server.run(&["health"]).ok();
}

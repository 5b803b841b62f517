//! `varve dev`, where it does not come up: what it says, and what it leaves alone.

use std::fs::File;
use std::process::Stdio;

use crate::support::{Server, run, varve};

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let path = dir.path().to_str().unwrap();
    let refused = run(&mut varve(&["dev", "--data-dir", path])).fails(6, "`varve dev` has not made it");
    assert!(refused.stderr.contains("hint: name a new directory"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn one_cluster_at_a_time_has_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let lock = File::create(dir.path().join("dev.lock")).unwrap();
    lock.try_lock().unwrap();
    let path = dir.path().to_str().unwrap();
    run(&mut varve(&["dev", "--data-dir", path])).fails(6, "another `varve dev` runs in");
}

#[test]
fn nodes_are_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let ports = |rpc: u16| format!(r#"{{"rpc":{rpc},"gossip":{}}}"#, rpc + 1);
    let plan = format!(r#"{{"nodes":[{},{},{}]}}"#, ports(1), ports(3), ports(5));
    std::fs::write(dir.path().join("dev.json"), plan).unwrap();
    let path = dir.path().to_str().unwrap();
    run(&mut varve(&["dev", "--data-dir", path, "--nodes", "1"]))
        .fails(2, "holds a cluster of 3 nodes, not 1");
    for count in ["0", "2", "4", "7", "x"] {
        run(&mut varve(&["dev", "--nodes", count])).fails(2, "--nodes");
    }
}

#[test]
fn a_port_that_was_asked_for_is_not_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("dev");
    let mut dev = varve(&["dev", "--nodes", "1", "--port", server.port(), "--data-dir"]);
    let taken = run(dev.arg(&data)).fails(6, &format!("port {}, ", server.port()));
    assert!(taken.stderr.contains("--port"), "{}", taken.stderr);
}

#[test]
fn a_node_that_does_not_start_is_told_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev");
    let mut dev = varve(&["dev", "--port", "0", "--data-dir"]);
    let told = run(dev.arg(&path).args(["--", "--segment-bytes", "much"]));
    let told = told.fails(2, "ended while it started (exit status: 2)");
    // The first two start side by side.
    let name = if told.stderr.contains("node-1 ended") { "node-1" } else { "node-2" };
    assert!(told.stderr.contains("  | error: --segment-bytes: \"much\" is no size"), "{}", told.stderr);
    let log = path.join(format!("{name}.log"));
    assert!(told.stderr.contains(log.to_str().unwrap()), "{}", told.stderr);
    assert!(std::fs::read_to_string(log).unwrap().contains("is no size"));
    assert!(told.stdout.is_empty());
    assert!(!path.join("node-3.log").exists(), "nobody waits for a node that has ended");
}

#[test]
fn a_server_can_be_made_to_end_with_its_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let mut command =
        varve(&["server", "--bootstrap", "--data-dir", path, "--rpc-port", "0", "--stop-with-stdin"]);
    let mut server = Server::start_command(command.stdin(Stdio::piped()));
    server.produce(&["events"], b"a\n");
    server.process.end_stdin();
    assert_eq!(server.process.wait().code(), Some(0));
    let server = Server::start(dir.path());
    assert_eq!(server.run(&["consume", "events"]).ok().text(), "a\n");
}

//! Mistakes that people make: each says what, and ends with its code.

use crate::support::{Server, run, run_with_input, varve};

/// An address where nobody listens: the port is reserved (RFC 6335).
const NOBODY: &str = "varve://127.0.0.1:1";

#[test]
fn usage_is_2() {
    for args in [
        &["produce"][..],
        &["consum", "events"],
        &["consume", "a/b"],
        &["consume", "events", "--from", "first"],
        &["consume", "events", "--until", "-5"],
        &["consume", "events", "-o", "xml"],
        &["consume", "events", "--follow", "-o", "json"],
        &["consume", "events", "--print-key", "-o", "jsonl"],
        &["produce", "events", "--header", "nothing"],
        &["produce", "events", "--delimiter", ""],
        &["topic", "alter", "events"],
        &["topic", "delete", "events"],
        &["health", "--server", "foo://x"],
        &["health", "--timeout", "0"],
        &["health", "--server", "varve://a", "--context", "a"],
        &["topic", "create", "events", "--replication-factor", "8"],
        &["cluster", "transfer-leadership"],
        &["cluster", "transfer-leadership", "events"],
        &["cluster", "transfer-leadership", "events", "0", "--controller"],
        &["cluster", "decommission"],
        &["cluster", "decommission", "1", "--cancel", "--wait"],
        &["cluster", "health", "--wait=soon"],
        &["cluster", "init", "--server", "varve://a:1,b:1"],
        &["context", "create", "a b", "--server", "varve://a"],
        &["context", "create", "a", "--server", "foo://a"],
        &["context", "use"],
    ] {
        let finished = run(&mut varve(args));
        assert_eq!(finished.code, Some(2), "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.starts_with("error: "), "{args:?}: {}", finished.stderr);
        assert!(finished.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn no_server_is_3() {
    for command in [
        &["health"][..],
        &["consume", "events"],
        &["produce", "events"],
        &["topic", "list"],
        &["bench"],
        &["cluster", "info"],
        &["cluster", "members"],
        &["cluster", "health"],
        &["cluster", "health", "--wait=300ms"],
        &["cluster", "transfer-leadership", "events", "0"],
        &["cluster", "decommission", "1"],
        &["cluster", "init"],
    ] {
        let finished = run(varve(command).args(["--server", NOBODY])).fails(3, NOBODY);
        assert!(finished.stderr.contains("hint: start one with"), "{}", finished.stderr);
    }
}

#[test]
fn what_is_not_there_is_5() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--rpc-port", "0", "--auto-create-topics=false"]);
    server.run(&["topic", "create", "events"]).ok();
    let missing = server.run(&["consume", "event"]).fails(5, "there is no topic event");
    assert!(missing.stderr.contains("did you mean events?"), "{}", missing.stderr);
    server.run(&["topic", "describe", "nothing-like-it"]).fails(5, "nothing-like-it");
    server.run(&["topic", "delete", "evnets", "--yes"]).fails(5, "evnets");
    server.run(&["topic", "trim", "events", "-P", "7", "--before", "0"]).fails(5, "partition");
    server.run(&["consume", "events", "-P", "7"]).fails(5, "partition 7");
    run_with_input(&mut server.varve(&["produce", "evens"]), b"a\n").fails(5, "evens");
    run_with_input(&mut server.varve(&["produce", "events", "-P", "7"]), b"a\n").fails(5, "partition 7");
    server.run(&["produce", "events", "/nowhere"]).fails(5, "cannot read /nowhere: no such file");
}

#[test]
fn what_stands_in_the_way_is_6() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let empty = dir.path().join("empty").to_str().unwrap().to_owned();
    let start = run(&mut varve(&["server", "--data-dir", &empty, "--rpc-port", "0"]));
    assert!(start.fails(6, &empty).stderr.contains("--bootstrap"));

    let server = Server::start(&data);
    server.run(&["topic", "create", "events"]).ok();
    server.run(&["topic", "create", "events"]).fails(6, "events");
    let in_use = ["server", "--bootstrap", "--data-dir", &empty, "--rpc-port", server.port()];
    assert!(run(&mut varve(&in_use)).fails(6, "the port is in use").stderr.contains("--rpc-port"));
}

#[test]
fn outside_of_the_log_is_7() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for line in [b"a\n", b"b\n", b"c\n"] {
        server.produce(&["events"], line);
    }
    server.run(&["consume", "events", "--from", "99"]).fails(7, "OFFSET_BEYOND_TAIL");
    assert_eq!(server.run(&["consume", "events", "--from", "99", "--clamp"]).ok().text(), "");
    server.run(&["topic", "trim", "events", "--before", "2"]).ok();
    let trimmed = server.run(&["consume", "events", "--from", "0"]).fails(7, "OFFSET_TRIMMED");
    assert!(trimmed.stderr.contains("offset 2"), "{}", trimmed.stderr);
    assert_eq!(server.run(&["consume", "events", "--from", "0", "--clamp"]).ok().text(), "c\n");
    server.run(&["topic", "trim", "events", "--before", "9"]).fails(7, "OFFSET_BEYOND_TAIL");
}

#[test]
fn too_long_without_a_record_is_8() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.produce(&["events"], b"a\n");
    let idle = server.run(&["consume", "events", "--follow", "--idle-timeout", "200ms"]);
    assert_eq!(idle.fails(8, "no record came").text(), "a\n");
}

#[test]
fn the_rest_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let data = dir.path().to_str().unwrap();
    server.run(&["produce", "events", data]).fails(1, "it is a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let on_file = run(&mut varve(&["server", "--data-dir", file, "--bootstrap", "--rpc-port", "0"]));
    on_file.fails(1, &format!("data directory {file} is a file"));

    let input = [&b"fine\n"[..], &vec![b'x'; 2 * 1024 * 1024], b"\n"].concat();
    let large = run_with_input(&mut server.varve(&["produce", "events"]), &input);
    large.fails(1, "line 2 of standard input is too large: it takes 2.0 MiB; the limit is 1.0 MiB");
    let input = vec![b'x'; 9 * 1024 * 1024];
    let huge = run_with_input(&mut server.varve(&["produce", "events"]), &input);
    huge.fails(1, "line 1 of standard input is too large");
    let json = b"{\"value\": \"a\"}\n{\"vlaue\": \"b\"}\n";
    let wrong = run_with_input(&mut server.varve(&["produce", "events", "--format", "json"]), json);
    wrong.fails(1, "line 2 of standard input is no record: unknown field `vlaue`");
}

//! Records in, records out.

use std::process::Stdio;

use crate::support::{DEADLINE, Process, Server, run_with_input};

#[test]
fn the_quick_start() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("v"));
    let file = dir.path().join("log");
    let text: String = (0..100).map(|line| format!("line {line}\n")).collect();
    std::fs::write(&file, &text).unwrap();
    let produced = server.run(&["produce", "events", file.to_str().unwrap()]).ok();
    assert!(produced.stderr.starts_with("100 records (690 B) acknowledged in "), "{}", produced.stderr);
    assert!(produced.stderr.ends_with("topic events partition 0: offsets 0 to 99\n"), "{}", produced.stderr);
    assert!(produced.stdout.is_empty());

    let five = server.run(&["consume", "events", "--from", "start", "-n", "5"]).ok();
    assert_eq!(five.text(), "line 0\nline 1\nline 2\nline 3\nline 4\n");
    let last = server.run(&["consume", "events", "--from", "-5"]).ok();
    assert_eq!(last.text(), "line 95\nline 96\nline 97\nline 98\nline 99\n");
    assert_eq!(server.run(&["consume", "events"]).ok().text(), text);

    let mut command = server.varve(&["consume", "events", "--follow", "--from", "end"]);
    let mut follow = Process::spawn(command.stdout(Stdio::piped()));
    let lines = follow.stdout();
    // Until the follower is there it may miss what comes: so give it one after the other until it has one.
    let deadline = std::time::Instant::now() + DEADLINE;
    let mut number = 0;
    let seen = loop {
        number += 1;
        server.produce(&["events"], format!("new {number}\n").as_bytes());
        match lines.try_recv() {
            Ok(line) => break line,
            Err(_) => assert!(std::time::Instant::now() < deadline, "nothing came"),
        }
    };
    assert!(seen.starts_with(b"new "));
    follow.signal("INT");
    assert_eq!(follow.wait().code(), Some(130));
}

#[test]
fn where_to_begin_and_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.produce(&["events"], b"0\n1\n2\n3\n4\n");
    let consumed = |args: &[&str]| {
        let mut command = server.varve(&["consume", "events"]);
        crate::support::run(command.args(args)).ok().text().replace('\n', "")
    };
    assert_eq!(consumed(&["--from", "3"]), "34");
    assert_eq!(consumed(&["--from=-2"]), "34");
    assert_eq!(consumed(&["--from", "-99"]), "01234");
    assert_eq!(consumed(&["--from", "5"]), "");
    assert_eq!(consumed(&["--from", "end"]), "");
    assert_eq!(consumed(&["--from", "1", "--until", "3"]), "12");
    assert_eq!(consumed(&["--from", "3", "--until", "1"]), "");
    assert_eq!(consumed(&["--from", "@2001-01-01"]), "01234");
    assert_eq!(consumed(&["--from", "@9999-01-01"]), "");
    assert_eq!(consumed(&["--from", "99", "--clamp"]), "");
    assert_eq!(consumed(&["--from", "1h", "-n", "2"]), "01");
    assert_eq!(consumed(&["--until", "@2001-01-01"]), "");
    assert_eq!(consumed(&["--until", "@9999-01-01"]), "01234");
    assert_eq!(consumed(&["-n", "0"]), "");
    server.run(&["topic", "create", "empty", "-p", "3"]).ok();
    for args in [&["--from", "start"][..], &["--from", "1h"], &["--from=-5"], &["-n", "5"]] {
        assert_eq!(
            crate::support::run(server.varve(&["consume", "empty"]).args(args)).ok().text(),
            "",
            "{args:?}"
        );
    }
}

#[test]
fn what_is_trimmed_of_a_batch_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.produce(&["events", "--linger", "1h"], b"a\nb\nc\n");
    server.run(&["topic", "trim", "events", "--before", "2"]).ok();
    for from in [&["--from", "start"][..], &["--from", "0", "--clamp"], &["--from=-9"], &["--from", "1h"]] {
        let consumed = crate::support::run(server.varve(&["consume", "events"]).args(from)).ok();
        assert_eq!(consumed.text(), "c\n", "{from:?}");
    }
}

#[test]
fn keys_headers_and_forms() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.produce(&["events", "-K", ":", "-H", "a=1", "-H", "b=2"], b"k1:v1\nno key\nk2:v:2\n");
    let raw = ["consume", "events", "--print-key", "--print-offset", "--print-headers"];
    assert_eq!(
        server.run(&raw).ok().text(),
        "0\ta=1,b=2\tk1\tv1\n1\ta=1,b=2\t\tno key\n2\ta=1,b=2\tk2\tv:2\n"
    );

    let json = server.run(&["consume", "events", "-o", "json"]).ok().json();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!(json[1]["key"], serde_json::Value::Null);
    assert_eq!(json[2]["value"], "v:2");
    assert_eq!(json[0]["headers"][1], serde_json::json!({"name": "b", "value": "2"}));
    assert_eq!(
        server.run(&["consume", "events", "--from", "end", "-o", "json"]).ok().json(),
        serde_json::json!([])
    );

    let table = server.run(&["consume", "events", "-o", "table"]).ok();
    assert_eq!(table.text().lines().count(), 4);
    assert!(table.text().starts_with("PARTITION"), "{}", table.text());

    // What is written as JSON lines can be read as such, byte for byte.
    server.produce(&["binary", "--delimiter", "\\0"], b"\xff\xfe\n\0ok\0");
    let lines = server.run(&["consume", "binary", "-o", "jsonl"]).ok();
    server.produce(&["copy", "--format", "json"], &lines.stdout);
    let copy = server.run(&["consume", "copy", "--delimiter", "\\0"]).ok();
    assert_eq!(copy.stdout, b"\xff\xfe\n\0ok\0");
}

#[test]
fn whole_files_and_several() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("v"));
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (a, b, empty) = (path("a", "one\ntwo"), path("b", "three\n"), path("empty", ""));
    server.run(&["produce", "raw", "--format", "raw", &a, &b]).ok();
    let raw = server.run(&["consume", "raw", "--delimiter", "|"]).ok();
    assert_eq!(raw.text(), "one\ntwo|three\n|");
    server.run(&["produce", "lines", &a, &empty, &b]).ok();
    assert_eq!(server.run(&["consume", "lines"]).ok().text(), "one\ntwo\nthree\n");
}

#[test]
fn every_codec_and_every_ack() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let text: String = (0..1000).map(|line| format!("the same again {line}\n")).collect();
    for codec in ["none", "lz4", "zstd", "snappy", "gzip"] {
        server.produce(&[codec, "-z", codec], text.as_bytes());
        assert_eq!(server.run(&["consume", codec]).ok().text(), text, "{codec}");
    }
    for acks in ["quorum", "leader"] {
        let json = server.produce(&[acks, "--acks", acks, "-o", "json"], text.as_bytes()).json();
        assert_eq!(json["partitions"][0]["last_offset"], 999, "{acks}");
    }
    let json = server.produce(&["unsaid", "--acks", "none", "-o", "json"], text.as_bytes()).json();
    assert_eq!(
        (&json["records"], &json["partitions"][0]["last_offset"]),
        (&1000.into(), &serde_json::Value::Null)
    );
}

#[test]
fn records_as_large_as_the_server_or_the_topic_lets_them() {
    const MIB: usize = 1024 * 1024;
    const LARGEST: usize = 8 * MIB - 4096;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--rpc-port", "0", "--record-bytes-max", "4MiB"]);
    let line = |bytes: usize| {
        // What does not shrink to nothing.
        let mut line: Vec<u8> = (0..bytes).map(|at| b'a' + (at * at % 251 % 26) as u8).collect();
        line.push(b'\n');
        line
    };
    let at_limit = [line(4 * MIB), line(1)].concat();
    server.produce(&["events"], &at_limit);
    assert!(server.run(&["consume", "events"]).ok().stdout == at_limit, "it comes back as it went");
    // What comes before it in the same batch does not suffer, and nothing is skipped: what comes after is not sent.
    let input = [line(3), line(5 * MIB), line(5)].concat();
    let args = ["produce", "mixed", "--batch-bytes", "8MiB", "--linger", "1h", "-o", "json"];
    let mixed = run_with_input(&mut server.varve(&args), &input);
    let mixed =
        mixed.fails(1, "line 2 of standard input is too large: it takes 5.0 MiB; the limit is 4.0 MiB");
    assert!(mixed.stderr.contains("--record-bytes-max"), "{}", mixed.stderr);
    assert!(server.run(&["consume", "mixed"]).ok().stdout == line(3));

    let largest = LARGEST.to_string();
    server.run(&["topic", "alter", "events", "--record-bytes-max", &largest]).ok();
    let largest = line(LARGEST);
    for codec in ["none", "lz4", "zstd"] {
        server.produce(&["events", "-z", codec], &largest);
        assert!(server.run(&["consume", "events", "--from=-1"]).ok().stdout == largest, "{codec}");
    }
}

#[test]
fn partitions_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.run(&["topic", "create", "many", "-p", "4"]).ok();
    let text: String = (0..4000).map(|line| format!("{}:{line}\n", line % 10)).collect();
    let summary = server.produce(&["many", "-K", ":", "-o", "json"], text.as_bytes()).json();
    let per_partition =
        summary["partitions"].as_array().unwrap().iter().map(|p| p["records"].as_u64().unwrap());
    assert_eq!(per_partition.sum::<u64>(), 4000);

    let read = server.run(&["consume", "many", "--print-key"]).ok();
    let mut last = [None; 10];
    for line in read.text().lines() {
        let (key, value) = line.split_once('\t').unwrap();
        let (key, value): (usize, u32) = (key.parse().unwrap(), value.parse().unwrap());
        assert!(last[key] < Some(value), "key {key}: {value} came after {:?}", last[key]);
        last[key] = Some(value);
    }
    assert_eq!(read.text().lines().count(), 4000);
    server.produce(&["many", "-P", "2"], b"here\n");
    assert_eq!(server.run(&["consume", "many", "-P", "2", "--from", "-1"]).ok().text(), "here\n");
}

#[test]
fn a_produce_that_fails_says_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let input = b"{\"value\": \"a\"}\n{\"value\": \"b\"}\nrubbish\n{\"value\": \"c\"}\n";
    let failed = run_with_input(&mut server.varve(&["produce", "events", "--format", "json"]), input);
    let failed = failed.fails(1, "line 3 of standard input");
    assert!(failed.stderr.starts_with("2 records"), "{}", failed.stderr);
    assert_eq!(server.run(&["consume", "events"]).ok().text(), "a\nb\n");
}

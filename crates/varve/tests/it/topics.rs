//! Topics: made, shown, changed, deleted.

use crate::support::Server;

#[test]
fn a_topic_lives_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(server.run(&["topic", "list", "-o", "raw"]).ok().text(), "");
    let made = server.run(&["topic", "create", "b", "--partitions", "3", "--retention-age", "7d"]).ok();
    assert_eq!(made.stderr, "created topic b (3 partitions)\n");
    assert!(made.stdout.is_empty());
    server.run(&["-q", "topic", "create", "a"]).ok();
    assert_eq!(server.run(&["topic", "list", "-o", "raw"]).ok().text(), "a\nb\n");
    let list = server.run(&["topic", "list"]).ok();
    assert_eq!(list.text(), "TOPIC  PARTITIONS\na               1\nb               3\n");

    server.run(&["topic", "alter", "b", "--retention-bytes", "1GiB", "--partitions", "4"]).ok();
    let described = server.run(&["topic", "describe", "b", "-o", "json"]).ok().json();
    assert_eq!(described["settings"]["retention_ms"], 7 * 86_400_000_u64);
    assert_eq!(described["settings"]["retention_bytes"], 1_u64 << 30);
    assert_eq!(described["settings"]["record_bytes_max"], serde_json::Value::Null);
    assert_eq!(described["effective_settings"]["record_bytes_max"], 1_u64 << 20);
    assert_eq!(described["effective_settings"]["retention_ms"], 7 * 86_400_000_u64);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 4);
    let text = server.run(&["topic", "describe", "b"]).ok();
    assert!(text.text().starts_with("topic b (4 partitions, 0 records)\n"), "{}", text.text());

    server.run(&["topic", "delete", "b", "--yes"]).ok();
    assert_eq!(server.run(&["topic", "list", "-o", "jsonl"]).ok().text().lines().count(), 1);
}

#[test]
fn nothing_is_deleted_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.run(&["topic", "create", "a"]).ok();
    server.run(&["topic", "delete", "a"]).fails(2, "there is nobody to ask");
    assert_eq!(server.run(&["topic", "list", "-o", "raw"]).ok().text(), "a\n");
}

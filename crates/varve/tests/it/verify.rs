//! Data directories that are checked while nobody has them open.

use std::path::{Path, PathBuf};

use crate::support::{Server, run, varve};

#[test]
fn a_sound_directory_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let data = filled(dir.path());
    let sound = verify(&data, &[]).ok();
    assert_eq!(sound.text(), "");
    assert!(sound.stderr.contains("1,000 records"), "{}", sound.stderr);
    let report = verify(&data, &["-o", "json"]).ok().json();
    assert_eq!((&report["summary"]["records"], &report["summary"]["damaged"]), (&1000.into(), &0.into()));
}

#[test]
fn damage_is_named_with_file_and_position() {
    let dir = tempfile::tempdir().unwrap();
    let data = filled(dir.path());
    let segment = segment_of(&data, b"record 500 ");
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = find(&bytes, b"record 500 ").unwrap();
    bytes[place] ^= 0x20;
    std::fs::write(&segment, bytes).unwrap();

    let damaged = verify(&data, &[]).fails(9, "is damaged");
    let line = damaged.text().lines().find(|line| line.starts_with("damage: ")).unwrap();
    assert!(line.contains(segment.to_str().unwrap()), "{line}");
    let report = verify(&data, &["-o", "json"]).fails(9, "is damaged").json();
    let position = report["findings"][0]["position"].as_u64().unwrap();
    assert!(position <= place as u64, "{position} is beyond the damage at {place}");

    // Nor is it served.
    let server = Server::start(&data);
    server.run(&["consume", "events"]).fails(9, "DATA_LOSS");
}

#[test]
fn only_data_directories_at_rest_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    verify(dir.path(), &[]).fails(5, "is no data directory");
    verify(&dir.path().join("nothing"), &[]).fails(5, "is no data directory");
    let data = dir.path().join("data");
    let _server = Server::start(&data);
    verify(&data, &[]).fails(6, "a server has");
}

fn verify(dir: &Path, args: &[&str]) -> crate::support::Finished {
    run(varve(&["verify", dir.to_str().unwrap()]).args(args))
}

/// A directory with a thousand records, whose server was stopped.
fn filled(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let mut server = Server::start(&data);
    for part in 0..10 {
        let lines: String = (part * 100..part * 100 + 100).map(|n| format!("record {n} of them\n")).collect();
        server.produce(&["events", "-z", "none"], lines.as_bytes());
    }
    server.process.signal("TERM");
    assert_eq!(server.process.wait().code(), Some(0));
    data
}

fn segment_of(data: &Path, text: &[u8]) -> PathBuf {
    let partitions = std::fs::read_dir(data.join("partitions")).unwrap();
    let files = partitions.flat_map(|partition| std::fs::read_dir(partition.unwrap().path()).unwrap());
    let mut segments =
        files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_some_and(|e| e == "log"));
    segments.find(|file| find(&std::fs::read(file).unwrap(), text).is_some()).unwrap()
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

//! Data directories of format 1 that must open for ever.
//!
//! The files under `tests/fixtures/v1` were written once and are never written again. A change that cannot read them, or that
//! writes other bytes for the same history, needs a new version of the format. `VARVE_WRITE_FIXTURES=1` writes those that do
//! not exist.

use crate::harness::*;
use bytes::Bytes;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use varve_env::disk::{CrashMode, Disk, OpenMode};
use varve_record::{
    BatchBuilder, Compression, Index, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp,
};
use varve_storage::{Entry, EntryKind, ProducerCheck, Severity, verify};

/// All kinds of entries in two segments, a truncation, votes, an identity and a snapshot.
fn history(clean: bool) -> World {
    let mut world = World::new(1);
    let (storage, log) = world.open_log();
    let producer = |index: u64, sequence: i32| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::new(5), Some(b"key"), Some(b"value"), &[]).unwrap();
        builder.producer(ProducerId::new(9), ProducerEpoch::new(2), Sequence::new(sequence));
        Entry::batch(id(1, index), time(index), builder.build().unwrap())
    };
    append(
        &world,
        &log,
        vec![blank(0), Entry::membership(id(1, 1), time(1), Bytes::from_static(b"1, 2, 3"))],
    );
    append(&world, &log, vec![entry(2, 3), producer(3, 0)]);
    roll(&world, &log);
    append(&world, &log, vec![producer(4, 1), command(1, 5, b"a command"), entry(6, 2)]);
    truncate(&world, &log, Some(5)).unwrap();
    append(&world, &log, vec![Entry::trim(id(2, 6), time(6), Offset::new(2)), command(2, 7, b"the last")]);
    storage.set_node_file(Bytes::from_static(b"cluster 7, node 3")).unwrap();
    log.save_snapshot(Bytes::from_static(b"a snapshot")).unwrap();
    for term in [4, 5] {
        storage.votes().save(PARTITION, vote(term, 2), Box::new(|result| result.unwrap()));
        world.run();
    }
    if clean {
        world.close(storage, log);
    } else {
        world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    }
    world
}

fn fixture_dir(clean: bool) -> PathBuf {
    let name = if clean { "stopped" } else { "crashed" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

/// The files of a fixture, by their paths on a test's disk.
fn read_fixture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                files.push((Path::new(DIR).join(path.strip_prefix(dir).unwrap()), content));
            }
        }
    }
    files.sort();
    files
}

fn written(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let files = world.disk.files().into_iter().filter(|path| !path.ends_with("LOCK"));
    files.map(|path| (path.clone(), world.disk.contents(&path).unwrap())).collect()
}

fn write_fixture(dir: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, content) in files {
        let path = dir.join(path.strip_prefix(DIR).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[test]
fn the_same_history_gives_the_same_bytes() {
    for clean in [true, false] {
        let (dir, files) = (fixture_dir(clean), written(&history(clean)));
        if std::env::var_os("VARVE_WRITE_FIXTURES").is_some() && !dir.exists() {
            write_fixture(&dir, &files);
        }
        let expected = read_fixture(&dir);
        let names =
            |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(names(&files), names(&expected));
        for ((path, found), (_, expected)) in files.iter().zip(&expected) {
            let differs = found.iter().zip(expected).position(|(a, b)| a != b);
            assert_eq!((differs, found.len()), (None, expected.len()), "{}", path.display());
        }
    }
}

#[test]
fn a_directory_of_the_first_version_opens() {
    for clean in [true, false] {
        let mut world = World::new(77);
        for (path, content) in read_fixture(&fixture_dir(clean)) {
            world.disk.create_dir_all(path.parent().unwrap()).unwrap();
            let file = world.disk.open(&path, OpenMode::CreateNew).unwrap();
            file.write_all_at(&mut [IoSlice::new(&content)], 0).unwrap();
            file.sync_data().unwrap();
            world.disk.sync_dir(path.parent().unwrap()).unwrap();
        }
        let mut worst = Severity::Note;
        let summary = verify(&world.disk, Path::new(DIR), &mut |finding| worst = worst.max(finding.severity));
        assert_eq!((summary.unwrap().entries, worst), (8, Severity::Note));
        let (storage, log) = world.open_log();
        check(&storage, &log);
        append(&world, &log, vec![Entry { log_id: id(3, 8), ..entry(8, 1) }]);
        world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
        let (_storage, log) = world.open_log();
        assert_eq!(all_entries(&log).len(), 9);
    }
}

fn check(storage: &varve_storage::Storage, log: &varve_storage::PartitionLog) {
    use EntryKind::{Batch, Blank, Command, Membership, Trim};
    let entries = all_entries(log);
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Blank, Membership, Batch, Batch, Batch, Command, Trim, Command]);
    assert_eq!((log.damage(), log.last_log_id()), (None, Some(id(2, 7))));
    assert_eq!((log.log_start_offset(), log.next_offset()), (Offset::new(2), Offset::new(5)));
    assert_eq!(all_batches(log), [(0, 3), (3, 1), (4, 1)]);
    assert_eq!(entries[7].body, "the last");
    assert_eq!(entries[2].body, *batch(2, 3, 0).into_bytes());
    let state = log.end_state();
    assert_eq!(state.membership.unwrap().body, "1, 2, 3");
    assert_eq!(state.last_append_time, time(7));
    let again = log.check_producer(ProducerId::new(9), ProducerEpoch::new(2), Sequence::new(1), 1);
    assert!(matches!(again, ProducerCheck::Duplicate { index, .. } if index == Index::new(4)));
    assert_eq!(storage.node_file().unwrap(), "cluster 7, node 3");
    assert_eq!(log.read_snapshot().unwrap().unwrap(), "a snapshot");
    assert_eq!(storage.votes().get(PARTITION), Some(vote(5, 2)));
}

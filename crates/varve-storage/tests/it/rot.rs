//! What the log does when its files rot, or are gone.

use crate::harness::*;
use std::path::{Path, PathBuf};
use varve_env::disk::{CrashMode, Disk, OpenMode};
use varve_record::{Index, Offset};
use varve_storage::{AppendError, Entry, OpenError, ReadError};

#[test]
fn a_tail_cut_at_every_byte_opens_with_all_before_it() {
    let mut world = World::new(5);
    let (storage, log) = world.open_log();
    for index in 0..6 {
        append(&world, &log, vec![sized(index, 1, 100)]);
    }
    let entries = all_entries(&log);
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let path = world.files(".log").remove(0);
    let len = world.disk.contents(&path).unwrap().len() as u64;
    let end = 4096 + 64 + 96 + 6 * 400;
    for cut in 4096 + 200..end.min(len) {
        let copy = world.copy();
        copy.disk.open(&path, OpenMode::Write).unwrap().set_len(cut).unwrap();
        let (storage, log) = copy.open_log();
        // A cut is no flipped bit: nothing behind it says that the entries were durable.
        assert_eq!(log.damage(), None, "cut at {cut}");
        let left = all_entries(&log);
        assert_eq!(left, entries[..left.len()], "cut at {cut}");
        copy.close(storage, log);
    }
}

/// A small data directory with all kinds of files, and what it holds.
fn small_directory(world: &mut World, clean: bool) -> Vec<Entry> {
    let (storage, log) = world.open_log();
    let body = |index: u64| sized(index, 2, 30);
    for index in 0..5 {
        append(world, &log, vec![body(index)]);
    }
    roll(world, &log);
    for index in 5..10 {
        append(world, &log, vec![body(index)]);
    }
    storage.set_node_file("me".into()).unwrap();
    log.save_snapshot("snapshot".into()).unwrap();
    storage.votes().save(PARTITION, vote(3, 2), Box::new(|result| result.unwrap()));
    world.run();
    // All is marked as durable once the log is idle.
    storage.tick();
    storage.tick();
    world.run();
    let entries = all_entries(&log);
    if clean {
        world.close(storage, log);
    } else {
        world.crash(CrashMode::ProcessOnly, Some(storage), Some(log));
    }
    entries
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    for clean in [false, true] {
        let mut world = World::new(6);
        let entries = small_directory(&mut world, clean);
        for path in world.disk.files() {
            let content = world.disk.contents(&path).unwrap();
            // Where the file is zeros to its end a flip is as good as any other.
            let used =
                content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 65).min(content.len());
            for position in 0..used {
                // The header block is mostly padding: every byte of it is under one checksum.
                if (200..4000).contains(&position) && position % 97 != 0 {
                    continue;
                }
                let copy = world.copy();
                copy.disk.flip(&path, position as u64, 1 << (position % 8)).unwrap();
                check_flipped(&copy, &entries, &path, position);
            }
        }
    }
}

fn check_flipped(world: &World, entries: &[Entry], path: &Path, position: usize) {
    let what = format!("{} flipped at {position}", path.display());
    let storage = match world.try_open() {
        Ok(storage) => storage,
        // The vote and the identity decide: nothing starts without them.
        Err(error) => return assert!(matches!(error, OpenError::Untrusted { .. }), "{what}: {error}"),
    };
    assert_eq!(storage.votes().get(PARTITION), Some(vote(3, 2)), "{what}");
    assert_eq!(storage.node_file().unwrap(), "me", "{what}");
    let log = storage.open_partition(PARTITION, world.config.clone()).unwrap();
    let mut found = false;
    for expected in entries {
        let index = expected.log_id.index;
        match log.entries(index, index.next(), 1) {
            Ok(read) => assert_eq!(read, std::slice::from_ref(expected), "{what}"),
            Err(ReadError::Damaged(damage)) => {
                found = true;
                assert!(damage.file.starts_with(path.parent().unwrap()), "{what}: {damage}");
            }
            Err(error) => panic!("{what}: {error}"),
        }
        match log.read(expected.base_offset, Offset::MAX, 1) {
            Ok(read) => {
                let bytes = read.first().map(|stored| stored.batch.as_bytes());
                assert_eq!(bytes, Some(&expected.body), "{what}");
            }
            Err(ReadError::Damaged(_)) => found = true,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    match log.read_snapshot() {
        Ok(snapshot) => assert_eq!(snapshot.unwrap(), "snapshot", "{what}"),
        Err(error) => assert!(matches!(error, OpenError::Untrusted { .. }), "{what}"),
    }
    assert!(!found || log.damage().is_some(), "{what}");
    drop((log, storage));
    world.run();
}

#[test]
fn missing_and_wrong_indexes_are_made_anew() {
    let mut world = World::new(7);
    let (storage, log) = world.open_log();
    for index in 0..100 {
        append(&world, &log, vec![sized(index, 3, 1000)]);
    }
    let (entries, batches) = (all_entries(&log), all_batches(&log));
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let indexes = world.files(".index");
    assert!(indexes.len() > 3);
    world.disk.remove_file(&indexes[0]).unwrap();
    world.disk.flip(&indexes[1], 60, 1).unwrap();
    world.disk.open(&indexes[2], OpenMode::Write).unwrap().set_len(0).unwrap();
    let (storage, log) = world.open_log();
    assert_eq!((all_entries(&log), all_batches(&log)), (entries, batches));
    assert_eq!(log.damage(), None);
    world.run();
    assert_eq!(world.files(".index"), indexes, "the missing one is written again");
    world.close(storage, log);
}

#[test]
fn files_that_are_missing_or_empty_are_never_taken_for_an_empty_log() {
    /// Which file it is that goes.
    type Victim = fn(&World) -> PathBuf;
    let all: [(&str, Victim); 4] = [
        ("middle segment removed", |world| world.files(".log")[1].clone()),
        ("last segment removed", |world| world.files(".log").last().unwrap().clone()),
        ("votes removed", |_| Path::new(DIR).join("votes")),
        ("all segments removed", |_| PathBuf::new()),
    ];
    for (what, victim) in all {
        for empty in [false, true] {
            let mut world = World::new(8);
            let (storage, log) = world.open_log();
            for index in 0..100 {
                append(&world, &log, vec![sized(index, 3, 1000)]);
            }
            let segments = log.segments().len();
            world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
            let victims = match victim(&world) {
                path if path.as_os_str().is_empty() => world.files(".log"),
                path => vec![path],
            };
            for path in &victims {
                match empty {
                    true => world.disk.open(path, OpenMode::Write).unwrap().set_len(0).unwrap(),
                    false => world.disk.remove_file(path).unwrap(),
                }
            }
            let logs = world.files(".log").len();
            match world.try_open() {
                Err(error) => assert!(matches!(error, OpenError::Untrusted { .. }), "{what}: {error}"),
                Ok(storage) => match storage.open_partition(PARTITION, world.config.clone()) {
                    Err(error) => assert!(matches!(error, OpenError::Untrusted { .. }), "{what}: {error}"),
                    Ok(log) => {
                        let damage = log.damage();
                        assert!(damage.is_some(), "{what}, empty: {empty}");
                        assert!(log.segments().len() >= segments - 1);
                    }
                },
            }
            world.run();
            assert_eq!(world.files(".log").len(), logs, "{what}: nothing was deleted");
        }
    }
}

#[test]
fn damage_is_reported_where_it_is_and_the_rest_is_read() {
    let mut world = World::new(10);
    world.config.segment_bytes = 1 << 20;
    let (storage, log) = world.open_log();
    for index in 0..20 {
        append(&world, &log, vec![sized(index, 1, 5000)]);
    }
    let entries = all_entries(&log);
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let path = world.files(".log").remove(0);
    // Entry 10: all frames have the same length.
    let frame = varve_frame_len(&entries[10]);
    let position = first_position(&world, &path) + 10 * frame;
    world.disk.flip(&path, position + 1000, 0x80).unwrap();
    let (storage, log) = world.open_log();
    let damage = log.damage().unwrap();
    assert_eq!((damage.file.as_path(), damage.position), (path.as_path(), position));
    assert_eq!((damage.first_index, damage.last_index), (Index::new(10), Some(Index::new(10))));
    assert!(matches!(submit(&log, vec![entry(20, 1)]), Err(AppendError::Damaged(_))));
    for index in (0..20).filter(|index| *index != 10) {
        let read = log.read(Offset::new(index), Offset::new(index + 1), 1).unwrap();
        assert_eq!(read[0].batch.as_bytes(), &entries[index as usize].body);
    }
    let error = log.read(Offset::new(10), Offset::MAX, 1).unwrap_err();
    assert!(matches!(&error, ReadError::Damaged(found) if *found == damage), "{error}");
    // A read that begins before it gives what is sound.
    assert_eq!(log.read(Offset::new(8), Offset::MAX, 1 << 20).unwrap().len(), 2);
    // Nothing is cut or written: after another start all is as it was.
    let before = world.disk.contents(&path).unwrap();
    storage.tick();
    storage.tick();
    world.run();
    world.close(storage, log);
    assert!(world.disk.contents(&path).unwrap() == before);
    let (storage, log) = world.open_log();
    assert_eq!(log.damage().as_ref(), Some(&damage));
    assert_eq!(log.read(Offset::new(19), Offset::MAX, 1).unwrap()[0].log_id, id(1, 19));
    // Taking back all from the damage on repairs it.
    truncate(&world, &log, Some(9)).unwrap();
    assert_eq!(log.damage(), None);
    append(&world, &log, entries[10..].to_vec());
    assert_eq!(all_entries(&log), entries);
    world.close(storage, log);
}

#[test]
fn what_lies_before_a_damaged_last_header_is_served() {
    for headers in 1..=2 {
        let mut world = World::new(16);
        let (storage, log) = world.open_log();
        append(&world, &log, (0..4).map(|index| sized(index, 2, 1000)).collect());
        roll(&world, &log);
        append(&world, &log, (4..9).map(|index| sized(index, 2, 1000)).collect());
        // What is taken back stays in the second segment's file, and must not come back.
        truncate(&world, &log, Some(6)).unwrap();
        append(&world, &log, vec![sized(7, 1, 10)]);
        let entries = all_entries(&log);
        world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
        let paths = world.files(".log");
        assert_eq!(paths.len(), 3);
        for path in paths.iter().rev().take(headers) {
            world.disk.flip(path, 100, 1).unwrap();
        }
        let (storage, log) = world.open_log();
        let damage = log.damage().unwrap();
        assert_eq!((&damage.file, damage.first_index), (&paths[2], Index::new(7)));
        let sound = if headers == 1 { 7 } else { 4 };
        assert_eq!(log.next_offset(), entries[sound].base_offset);
        assert_eq!(log.last_log_id().unwrap().index, Index::new(6));
        let batches = log.read(Offset::new(0), Offset::MAX, 2_000_000).unwrap();
        let found: Vec<_> = batches.iter().map(|stored| stored.batch.as_bytes().clone()).collect();
        let first: Vec<_> = entries[..found.len()].iter().map(|entry| entry.body.clone()).collect();
        assert_eq!(found, first);
        for entry in &entries[..sound] {
            let read = log.read(entry.base_offset, Offset::MAX, 1).unwrap();
            assert_eq!(read[0].batch.as_bytes(), &entry.body);
        }
        let behind = log.read(entries[sound].base_offset, Offset::MAX, 1);
        assert!(matches!(behind, Err(ReadError::Damaged(_))), "{behind:?}");
        assert!(matches!(submit(&log, vec![entry(7, 1)]), Err(AppendError::Damaged(_))));
        if headers == 1 {
            // Taking back what cannot be read repairs the log.
            truncate(&world, &log, Some(6)).unwrap();
            append(&world, &log, vec![entries[7].clone()]);
            assert_eq!(all_entries(&log), entries);
        }
        drop(storage);
    }
}

#[test]
fn a_last_segment_cut_short_after_a_clean_stop_is_damage_and_no_torn_tail() {
    let mut world = World::new(17);
    let entries = small_directory(&mut world, true);
    let path = world.files(".log").remove(1);
    let file = world.disk.open(&path, OpenMode::Write).unwrap();
    file.set_len(file.len_bytes().unwrap() - 300).unwrap();
    let (storage, log) = world.open_log();
    let damage = log.damage().expect("the checkpoint of the stop says that there was more");
    assert_eq!((&damage.file, damage.last_index), (&path, Some(entries[9].log_id.index)));
    assert!(matches!(submit(&log, vec![entry(10, 1)]), Err(AppendError::Damaged(_))));
    drop((storage, log));
}

fn varve_frame_len(entry: &Entry) -> u64 {
    64 + (entry.body.len() as u64).next_multiple_of(8)
}

/// Where the first entry's frame begins: noted in the header block.
fn first_position(world: &World, path: &Path) -> u64 {
    let header = world.disk.contents(path).unwrap();
    u64::from_le_bytes(header[104..112].try_into().unwrap())
}

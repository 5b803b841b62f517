//! What else may lie in a data directory.

use crate::harness::*;
use std::path::Path;
use varve_env::disk::{CrashMode, Disk, OpenMode};
use varve_record::{Offset, PartitionId};
use varve_storage::{AppendError, Entry, OpenError, PartitionLog, QUARANTINED_MAX, Storage};

#[test]
fn what_nobody_knows_is_left_alone() {
    let mut world = World::new(9);
    let (storage, log) = world.open_log();
    append(&world, &log, vec![entry(0, 1)]);
    world.close(storage, log);
    let dir = Path::new(DIR).join("partitions/0000000001");
    for name in ["notes.txt", "00000000000000000007.log", "half.tmp"] {
        world.disk.open(&dir.join(name), OpenMode::CreateNew).unwrap();
    }
    let (storage, log) = world.open_log();
    assert_eq!(all_entries(&log).len(), 1);
    world.crash(CrashMode::ProcessOnly, Some(storage), Some(log));
    let names: Vec<_> = world.files("").iter().map(|p| p.file_name().unwrap().to_os_string()).collect();
    assert!(names.contains(&"notes.txt".into()) && names.contains(&"00000000000000000007.log".into()));
    assert!(!names.contains(&"half.tmp".into()), "half of a file that was never finished goes");
}

#[test]
fn a_partition_half_made_or_half_removed_is_cleared_away() {
    let world = World::new(11);
    let (storage, log) = world.open_log();
    world.close(storage, log);
    for name in ["0000000005.new", "0000000006.removed"] {
        let dir = Path::new(DIR).join("partitions").join(name);
        world.disk.create_dir_all(&dir).unwrap();
        world.disk.open(&dir.join("x.log"), OpenMode::CreateNew).unwrap();
    }
    let storage = world.open();
    assert_eq!(storage.partition_ids().unwrap(), [PARTITION]);
    assert!(world.disk.files().iter().all(|file| !file.ends_with("x.log")));
    storage.create_partition(PartitionId::new(5), world.config.clone()).unwrap();
}

/// A partition with an entry and a vote.
fn voted(world: &World, storage: &Storage, log: &PartitionLog) {
    append(world, log, vec![entry(0, 1)]);
    storage.votes().save(PARTITION, vote(3, 1), Box::new(|result| result.unwrap()));
    world.run();
}

#[test]
fn of_a_partition_that_is_damaged_again_and_again_the_newest_directories_are_kept() {
    let mut world = World::new(12);
    let (storage, log) = world.open_log();
    voted(&world, &storage, &log);
    let asides: Vec<_> = (0..QUARANTINED_MAX + 3)
        .map(|_| {
            let aside = storage.quarantine_partition(PARTITION).unwrap();
            storage.create_partition(PARTITION, world.config.clone()).unwrap();
            storage.has_returned(PARTITION).unwrap();
            aside
        })
        .collect();
    assert!(asides.windows(2).all(|pair| pair[0] != pair[1]));
    let (old, kept) = asides.split_at(3);
    assert!(old.iter().all(|aside| !world.disk.exists(aside).unwrap()), "they are not without bound");
    assert!(kept.iter().all(|aside| world.disk.exists(aside).unwrap()));
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
}

#[test]
fn a_quarantined_partition_lies_aside_with_all_its_files_and_may_be_made_again() {
    let mut world = World::new(12);
    let (storage, log) = world.open_log();
    voted(&world, &storage, &log);
    let mut asides = Vec::new();
    for _ in 0..2 {
        let before = world.files("").len();
        let aside = storage.quarantine_partition(PARTITION).unwrap();
        assert!(world.disk.exists(&aside).unwrap() && !asides.contains(&aside));
        asides.push(aside);
        assert_eq!(world.files("").len(), before + 1, "nothing is deleted, and a note is made");
        assert_eq!(storage.partition_ids().unwrap(), []);
        assert!(storage.has_left(PARTITION).unwrap());
        assert_eq!(storage.votes().get(PARTITION), Some(vote(3, 1)));
        let gone = storage.open_partition(PARTITION, world.config.clone());
        assert!(matches!(gone, Err(OpenError::NoSuchPartition { .. })));
        storage.create_partition(PARTITION, world.config.clone()).unwrap();
        assert!(!storage.has_left(PARTITION).unwrap(), "it is here again");
        storage.has_returned(PARTITION).unwrap();
    }
    assert!(matches!(submit(&log, vec![entry(1, 1)]), Err(AppendError::StorageStopped(_))));
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let storage = world.open();
    assert_eq!(storage.partition_ids().unwrap(), [PARTITION]);
    assert!(asides.iter().all(|aside| world.disk.exists(aside).unwrap()), "a start leaves them alone");
    let unknown = storage.quarantine_partition(PartitionId::new(77));
    assert!(matches!(unknown, Err(OpenError::NoSuchPartition { .. })));
}

#[test]
fn a_removed_partition_has_left_and_a_lost_one_has_not() {
    let mut world = World::new(13);
    let (storage, log) = world.open_log();
    voted(&world, &storage, &log);
    storage.remove_partition(PARTITION).unwrap();
    assert!(storage.has_left(PARTITION).unwrap());
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let storage = world.open();
    assert!(storage.has_left(PARTITION).unwrap() && storage.votes().get(PARTITION).is_some());
    let log = storage.create_partition(PARTITION, world.config.clone()).unwrap();
    assert!(storage.is_returning(PARTITION).unwrap());
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let storage = world.open();
    assert!(storage.is_returning(PARTITION).unwrap(), "nobody has said that it has all again");
    storage.has_returned(PARTITION).unwrap();
    assert!(!storage.is_returning(PARTITION).unwrap());
    world.crash(CrashMode::SyncedOnly, Some(storage), None);
    world.disk.remove_dir_all(&Path::new(DIR).join("partitions/0000000001")).unwrap();
    let storage = world.open();
    assert!(!storage.has_left(PARTITION).unwrap(), "it was here, and nobody gave it up");
}

#[test]
fn a_deleted_partition_leaves_nothing() {
    let mut world = World::new(14);
    let (storage, log) = world.open_log();
    voted(&world, &storage, &log);
    storage.delete_partition(PARTITION).unwrap();
    storage.delete_partition(PARTITION).unwrap();
    assert_eq!((storage.votes().get(PARTITION), storage.has_left(PARTITION).unwrap()), (None, false));
    // One that was given up before can be deleted, too.
    let again = storage.create_partition(PARTITION, world.config.clone()).unwrap();
    storage.votes().save(PARTITION, vote(4, 1), Box::new(|result| result.unwrap()));
    world.run();
    storage.remove_partition(PARTITION).unwrap();
    storage.delete_partition(PARTITION).unwrap();
    assert!(!storage.has_left(PARTITION).unwrap());
    drop(again);
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    assert_eq!(world.open().votes().get(PARTITION), None);
    assert!(world.files("").iter().all(|path| !path.to_string_lossy().contains("0000000001")));
}

#[test]
fn a_crash_leaves_a_partition_that_is_given_up_here_or_gone_and_noted() {
    for quarantined in [false, true] {
        for steps in 0..12 {
            let mut world = World::new(20 + steps);
            let (storage, log) = world.open_log();
            voted(&world, &storage, &log);
            world.disk.halt_after(steps);
            let given_up = if quarantined {
                storage.quarantine_partition(PARTITION).map(drop)
            } else {
                storage.remove_partition(PARTITION)
            };
            world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
            let storage = world.open();
            let is_here = storage.partition_ids().unwrap() == [PARTITION];
            assert!(is_here || storage.has_left(PARTITION).unwrap(), "after {steps} steps");
            assert!(!(is_here && given_up.is_ok()), "after {steps} steps");
            if is_here {
                let log = storage.open_partition(PARTITION, world.config.clone()).unwrap();
                assert_eq!(all_entries(&log).len(), 1, "after {steps} steps");
            }
        }
    }
}

#[test]
fn what_a_leader_let_in_finds_room_where_a_leader_lets_nothing_in() {
    const MIB: u64 = 1024 * 1024;
    let world = World::new(31);
    let (storage, log) = world.open_log();
    let filler = world.disk.open(Path::new("/filler"), OpenMode::CreateNew).unwrap();
    // A twentieth of the disk is the reserve: 2 MiB.
    world.disk.set_capacity(Some(40 * MIB));
    let leave_free = |bytes: u64| {
        let used: u64 = 40 * MIB - world.disk.space(Path::new("/")).unwrap().available_bytes;
        let filled = filler.len_bytes().unwrap();
        filler.set_len(40 * MIB - bytes - (used - filled)).unwrap();
        storage.tick();
        world.run();
    };
    leave_free(3 * MIB);
    assert!(!log.is_full());
    append(&world, &log, vec![entry(0, 1)]);
    leave_free(MIB * 3 / 2);
    assert!(log.is_full());
    let refused = log.append(vec![entry(1, 1)], Box::new(|_| {}));
    assert!(matches!(refused, Err(AppendError::DiskFull)));
    log.append_let_in(vec![entry(1, 1)], Box::new(|result| result.unwrap())).unwrap();
    world.run();
    leave_free(MIB / 2);
    let refused = log.append_let_in(vec![entry(2, 1)], Box::new(|_| {}));
    assert!(matches!(refused, Err(AppendError::DiskFull)));
    append(&world, &log, vec![Entry::trim(id(1, 2), time(2), Offset::new(1))]);
    leave_free(3 * MIB);
    assert!(!log.is_full());
    append(&world, &log, vec![entry(3, 1)]);
}

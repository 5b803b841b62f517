//! What else may lie in a data directory.

use crate::harness::*;
use std::path::Path;
use varve_env::disk::{CrashMode, Disk, OpenMode};
use varve_record::PartitionId;

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

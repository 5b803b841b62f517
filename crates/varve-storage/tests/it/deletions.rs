//! What the log does when a segment cannot be deleted.

use crate::harness::*;
use std::io::ErrorKind;
use varve_env::disk::{CrashMode, OpKind};
use varve_record::{Index, Offset};

#[test]
fn a_segment_that_a_trim_could_not_delete_is_no_hole_after_a_truncation() {
    let mut world = World::new(15);
    let (storage, log) = world.open_log();
    for index in 0..4 {
        append(&world, &log, vec![entry(index, 1)]);
    }
    // The second segment replaces what was taken back of the first, and the first is trimmed.
    truncate(&world, &log, Some(1)).unwrap();
    append(&world, &log, vec![entry(2, 1)]);
    log.set_committed(Index::new(1));
    world.disk.fail_nth(OpKind::Rename, 0, ErrorKind::Other);
    log.trim(Offset::new(2));
    world.run();
    assert_eq!(world.files(".log").len(), 2, "the first could not be deleted");
    assert_eq!(log.first_index(), Index::new(2));
    truncate(&world, &log, Some(1)).unwrap();
    append(&world, &log, vec![entry(2, 1)]);
    let expected = all_entries(&log);
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!(log.damage(), None);
    log.set_committed(Index::new(2));
    log.trim(Offset::new(2));
    world.run();
    assert_eq!(all_entries(&log), expected);
    assert_eq!(world.files(".log").len(), 1, "the next trim has deleted it");
}

#[test]
fn a_segment_that_could_not_be_deleted_goes_before_those_behind_it() {
    let world = World::new(16);
    let (storage, log) = world.open_log();
    for index in 0..6 {
        append(&world, &log, vec![entry(index, 1)]);
        roll(&world, &log);
    }
    log.set_committed(Index::new(5));
    world.disk.fail_nth(OpKind::Rename, 0, ErrorKind::Other);
    log.trim(Offset::new(2));
    world.run();
    assert_eq!(world.files(".log").len(), 7, "the first could not be deleted");
    world.disk.fail_nth(OpKind::Rename, 0, ErrorKind::Other);
    log.trim(Offset::new(4));
    world.run();
    assert_eq!(world.files(".log").len(), 7, "it still could not, and those behind it wait");
    let mut crashed = world.copy();
    crashed.crash(CrashMode::SyncedOnly, None, None);
    let (_storage, found) = crashed.open_log();
    assert_eq!(found.damage(), None);
    log.trim(Offset::new(5));
    world.run();
    assert_eq!(world.files(".log").len(), 2, "all that is trimmed is deleted");
    world.close(storage, log);
    let (_storage, log) = world.open_log();
    assert_eq!((log.damage(), log.first_index()), (None, Index::new(5)));
}

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use varve_env::disk::{CrashMode, Disk, DiskFile, FaultyDisk, OpKind, OpenMode};

fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn create(disk: &FaultyDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), OpenMode::CreateNew).unwrap()
}

fn write(file: &Arc<dyn DiskFile>, data: &[u8], position: u64) {
    file.write_all_at(&mut [IoSlice::new(data)], position).unwrap();
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    write(&file, b"kept", 0);
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&file, b"lost", 4);
    let after = disk.crash(CrashMode::SyncedOnly);
    assert_eq!(after.contents(Path::new("/d/a")).unwrap(), b"kept");
}

#[test]
fn a_synced_file_whose_directory_was_not_is_gone() {
    let disk = disk();
    create(&disk, "/d/a").sync_data().unwrap();
    let after = disk.crash(CrashMode::SyncedOnly);
    assert_eq!(after.contents(Path::new("/d/a")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_killed_process_loses_nothing_but_its_handles() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    write(&file, b"cached", 0);
    let after = disk.crash(CrashMode::ProcessOnly);
    assert_eq!(after.contents(Path::new("/d/a")).unwrap(), b"cached");
    assert!(file.sync_data().is_err());
    assert!(disk.list(Path::new("/d")).is_err());
}

#[test]
fn a_torn_crash_lets_sectors_through_one_by_one() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let disk = disk().fork(seed);
        let file = create(&disk, "/d/a");
        disk.sync_dir(Path::new("/d")).unwrap();
        write(&file, &[1; 512], 0);
        write(&file, &[2; 512], 512);
        let bytes = disk.crash(CrashMode::Torn).contents(Path::new("/d/a")).unwrap();
        seen.insert((bytes.first() == Some(&1), bytes.get(512) == Some(&2)));
    }
    assert_eq!(seen.len(), 4, "every subset of two sectors is seen: {seen:?}");
}

#[test]
fn after_a_failed_sync_the_next_reports_success_and_the_data_is_lost() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&file, b"data", 0);
    disk.fail_nth(OpKind::Sync, 0, ErrorKind::Other);
    assert!(file.sync_data().is_err());
    assert!(file.sync_data().is_ok());
    assert_eq!(disk.contents(Path::new("/d/a")).unwrap(), b"data");
    assert!(disk.crash(CrashMode::SyncedOnly).contents(Path::new("/d/a")).unwrap().is_empty());
}

#[test]
fn renames_are_atomic_and_durable_with_their_directory() {
    let disk = disk();
    write(&create(&disk, "/d/new"), b"x", 0);
    create(&disk, "/d/old");
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.rename(Path::new("/d/new"), Path::new("/d/old")).unwrap();
    let before = disk.fork(1).crash(CrashMode::SyncedOnly);
    assert_eq!(before.files().len(), 2);
    disk.sync_dir(Path::new("/d")).unwrap();
    let after = disk.crash(CrashMode::SyncedOnly);
    assert_eq!(after.files(), [Path::new("/d/old")]);
}

#[test]
fn faults_come_when_they_were_asked_for() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    disk.fail_nth(OpKind::Write, 1, ErrorKind::StorageFull);
    write(&file, b"first", 0);
    let refused = file.write_at(&[IoSlice::new(b"second")], 5).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    write(&file, b"third", 5);

    disk.halt_after(1);
    write(&file, b"x", 0);
    assert!(file.sync_data().is_err(), "the power is cut after one change");
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    disk.set_capacity(Some(8));
    write(&file, b"12345678", 0);
    let refused = file.write_at(&[IoSlice::new(b"9")], 8).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    write(&file, b"abcdefgh", 0);
    assert_eq!(disk.space(Path::new("/d")).unwrap().available_bytes, 0);
}

#[test]
fn a_large_disk_may_have_little_room() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    write(&file, b"1234", 0);
    disk.set_room(Some(4));
    let space = disk.space(Path::new("/d")).unwrap();
    assert_eq!(space.available_bytes, 4);
    assert!(space.total_bytes > 1 << 40);
    write(&file, b"5678", 4);
    let refused = file.write_at(&[IoSlice::new(b"9")], 8).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    disk.set_room(None);
    write(&file, b"9", 8);
}

#[test]
fn short_reads_and_writes_are_looped_over() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    disk.set_short_io(true);
    let data: Vec<u8> = (0..=255).collect();
    file.write_all_at(&mut [IoSlice::new(&data[..100]), IoSlice::new(&[]), IoSlice::new(&data[100..])], 0)
        .unwrap();
    let mut back = vec![0; 256];
    file.read_exact_at(&mut back, 0).unwrap();
    assert_eq!(back, data);
}

#[test]
fn a_lock_is_held_once_and_let_go_by_a_crash() {
    let disk = disk();
    let held = disk.try_lock(Path::new("/d/LOCK")).unwrap();
    assert_eq!(disk.try_lock(Path::new("/d/LOCK")).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(held);
    let _held = disk.try_lock(Path::new("/d/LOCK")).unwrap();
    let after = disk.crash(CrashMode::ProcessOnly);
    assert!(after.try_lock(Path::new("/d/LOCK")).is_ok());
}

#[test]
fn a_flipped_bit_survives_a_crash() {
    let disk = disk();
    let file = create(&disk, "/d/a");
    write(&file, b"abc", 0);
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.flip(Path::new("/d/a"), 1, 0x01).unwrap();
    assert_eq!(disk.contents(Path::new("/d/a")).unwrap(), b"acc");
    assert_eq!(disk.crash(CrashMode::SyncedOnly).contents(Path::new("/d/a")).unwrap(), b"acc");
}

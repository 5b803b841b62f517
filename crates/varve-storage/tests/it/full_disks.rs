//! What the log does when the disk is full.

use crate::harness::*;
use crate::power_cuts::MODES;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use varve_env::disk::{CrashMode, OpKind};
use varve_record::{Index, Offset};
use varve_storage::{AppendError, Entry, PartitionLog, Storage};

#[test]
fn a_full_disk_keeps_what_waits_and_goes_on_when_there_is_room() {
    let mut world = World::new(2);
    world.config.segment_bytes = 1 << 20;
    let (storage, log) = world.open_log();
    append(&world, &log, vec![sized(0, 1, 1000)]);
    let used: usize = world.disk.files().iter().map(|file| world.disk.contents(file).unwrap().len()).sum();
    world.disk.set_capacity(Some(used as u64 + 10_000));
    let told =
        [submit(&log, vec![sized(1, 1, 1000)]).unwrap(), submit(&log, vec![sized(2, 1, 90_000)]).unwrap()];
    world.run();
    assert!(told.iter().all(|told| take(told).is_none()), "neither acknowledged nor refused");
    assert!(log.is_full());
    assert!(matches!(submit(&log, vec![entry(3, 1)]), Err(AppendError::DiskFull)));
    assert_eq!(log.read(Offset::new(0), Offset::new(1), 1).unwrap().len(), 1);
    storage.tick();
    world.run();
    assert!(log.is_full());
    world.disk.set_capacity(None);
    storage.tick();
    world.run();
    assert!(told.iter().all(|told| matches!(take(told), Some(Ok(())))));
    assert!(!log.is_full());
    append(&world, &log, vec![entry(3, 1)]);
    let expected = all_entries(&log);
    assert_eq!(expected.len(), 4);
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!(all_entries(&log), expected);
}

#[test]
fn a_disk_that_is_full_when_a_segment_is_to_be_made_loses_nothing() {
    for room in (0..40_000).step_by(1_500) {
        let mut world = World::new(3);
        let (storage, log) = world.open_log();
        append(&world, &log, vec![sized(0, 1, 30_000)]);
        let used: usize =
            world.disk.files().iter().map(|file| world.disk.contents(file).unwrap().len()).sum();
        world.disk.set_capacity(Some(used as u64 + room));
        let mut told = Vec::new();
        for index in 1..6 {
            match submit(&log, vec![sized(index, 1, 30_000)]) {
                Ok(answer) => told.push(answer),
                Err(error) => assert!(matches!(error, AppendError::DiskFull), "{error}"),
            }
            world.run();
        }
        world.disk.set_capacity(None);
        storage.tick();
        world.run();
        assert!(told.iter().all(|told| matches!(take(told), Some(Ok(())))), "room {room}");
        let expected = all_entries(&log);
        assert_eq!(expected.len(), 1 + told.len());
        world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
        let (_storage, log) = world.open_log();
        assert_eq!((log.damage(), all_entries(&log)), (None, expected));
    }
}

#[test]
fn a_disk_nearly_full_refuses_appends_before_it_is() {
    let world = World::new(4);
    let (storage, log) = world.open_log();
    append(&world, &log, vec![entry(0, 1)]);
    let used: usize = world.disk.files().iter().map(|file| world.disk.contents(file).unwrap().len()).sum();
    // 4 % of the disk are left, the reserve is 5 %.
    world.disk.set_capacity(Some(used as u64 * 100 / 96));
    storage.tick();
    world.run();
    assert!(matches!(submit(&log, vec![entry(1, 1)]), Err(AppendError::DiskFull)));
    world.disk.set_capacity(Some(used as u64 * 2));
    storage.tick();
    world.run();
    append(&world, &log, vec![entry(1, 1)]);
}

fn used_bytes(world: &World) -> u64 {
    world.disk.files().iter().map(|file| world.disk.contents(file).unwrap().len() as u64).sum()
}

/// Fills a disk of 10 MB with batches until they are refused. Gives how many went in.
fn fill(world: &World, storage: &Storage, log: &PartitionLog) -> u64 {
    world.disk.set_capacity(Some(10_000_000));
    storage.tick();
    world.run();
    let mut refusals = 0;
    let mut index = 0;
    while refusals < 12 {
        match submit(log, vec![sized(index, 1, 20_000)]) {
            Ok(told) => {
                world.run();
                assert!(matches!(take(&told), Some(Ok(()))), "what is let in does not wait for room");
                index += 1;
            }
            Err(error) => {
                assert!(matches!(error, AppendError::DiskFull), "{error}");
                // Another look may find more room than was counted on.
                storage.tick();
                world.run();
                refusals += 1;
            }
        }
        assert!(index < 1000, "the disk never fills up");
    }
    index
}

#[test]
fn a_full_disk_is_left_by_a_trim_and_by_a_restart() {
    for stop_cleanly in [false, true] {
        let mut world = World::new(12);
        world.storage_config.pool_bytes_max = 1 << 30;
        let (storage, log) = world.open_log();
        let mut next = fill(&world, &storage, &log);
        storage.tick();
        world.run();
        assert!(
            used_bytes(&world) <= 9_600_000,
            "the reserve is kept, though no time has passed since the last look"
        );
        // What belongs to the raft group and to the metadata goes in.
        append(&world, &log, vec![blank(next), command(1, next + 1, &[1; 60_000])]);
        let large = command(1, next + 2, &[1; 100_000]);
        assert!(matches!(submit(&log, vec![large]), Err(AppendError::DiskFull)));
        next += 2;
        if stop_cleanly {
            world.close(storage, log);
        } else {
            world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
        }
        let (storage, log) = world.open_log();
        save_vote_now(&world, &storage, 2);
        append(&world, &log, vec![Entry::blank(id(2, next), time(next))]);
        assert!(matches!(submit(&log, vec![batch_of_term_2(next + 1)]), Err(AppendError::DiskFull)));
        let start = log.next_offset();
        append(&world, &log, vec![Entry::trim(id(2, next + 1), time(next + 1), start)]);
        log.set_committed(Index::new(next + 1));
        log.trim(start);
        world.run();
        assert!(used_bytes(&world) < 1_000_000, "the segments are deleted, not pooled");
        storage.tick();
        world.run();
        append(&world, &log, vec![batch_of_term_2(next + 2)]);
    }
}

#[test]
fn what_is_larger_than_the_room_that_is_left_has_the_pools() {
    let mut world = World::new(14);
    world.storage_config.pool_bytes_max = 1 << 30;
    let (storage, log) = world.open_log();
    for index in 0..20 {
        append(&world, &log, vec![sized(index, 1, 20_000)]);
    }
    log.set_committed(Index::new(19));
    log.trim(Offset::new(20));
    world.run();
    // A little more than the reserve stays free.
    world.disk.set_capacity(Some((used_bytes(&world) + 20_000) * 20 / 19));
    storage.tick();
    world.run();
    append(&world, &log, vec![sized(20, 1, 1_000)]);
    let large = || vec![sized(21, 1, 60_000)];
    assert!(matches!(submit(&log, large()), Err(AppendError::DiskFull)), "the pool is still there");
    storage.tick();
    world.run();
    append(&world, &log, large());
}

fn batch_of_term_2(index: u64) -> Entry {
    Entry { log_id: id(2, index), ..sized(index, 1, 20_000) }
}

fn save_vote_now(world: &World, storage: &Storage, term: u64) {
    let told: Told<AppendError> = Arc::default();
    let answer = Arc::clone(&told);
    let done = move |result| *answer.lock().unwrap() = Some(result);
    storage.votes().save(PARTITION, vote(term, 1), Box::new(done));
    world.run();
    assert!(matches!(take(&told), Some(Ok(()))), "a vote was not saved");
}

#[test]
fn a_log_that_waits_for_room_is_trimmed_all_the_same() {
    let mut world = World::new(13);
    let (storage, log) = world.open_log();
    for index in 0..20 {
        append(&world, &log, vec![sized(index, 1, 20_000)]);
    }
    log.set_committed(Index::new(19));
    // The room goes to somebody else.
    world.disk.set_capacity(Some(used_bytes(&world)));
    let told: Vec<_> = (20..26).map(|index| submit(&log, vec![sized(index, 1, 60_000)]).unwrap()).collect();
    world.run();
    assert!(told.iter().any(|told| told.lock().unwrap().is_none()), "something waits");
    log.trim(Offset::new(20));
    world.run();
    storage.tick();
    world.run();
    storage.tick();
    world.run();
    assert!(told[0].lock().unwrap().is_some(), "the trim made room");
    world.disk.set_capacity(None);
    storage.tick();
    world.run();
    assert!(told.iter().all(|told| matches!(take(told), Some(Ok(())))));
    let expected = all_entries(&log);
    assert_eq!(expected.last().unwrap().log_id, id(1, 25));
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!((log.damage(), all_entries(&log)), (None, expected));
}

#[test]
fn no_room_at_all_takes_no_vote_away() {
    for mode in MODES {
        let mut world = World::new(14);
        let (storage, log) = world.open_log();
        append(&world, &log, vec![entry(0, 1)]);
        save_vote_now(&world, &storage, 1);
        // Of the last vote nothing says that it is durable: the machine fails in its sync.
        world.disk.fail_nth(OpKind::Sync, 0, ErrorKind::Other);
        storage.votes().save(
            PARTITION,
            vote(2, 1),
            Box::new(|result| result.unwrap_err().to_string().clear()),
        );
        world.run();
        world.crash(mode, Some(storage), Some(log));
        world.disk.set_capacity(Some(used_bytes(&world)));
        for term in 3..200 {
            let (storage, log) = world.open_log();
            let found = storage.votes().get(PARTITION).unwrap().term.get();
            assert!(found == term - 1 || (term == 3 && found == 1), "{found} before {term}");
            save_vote_now(&world, &storage, term);
            world.crash(mode, Some(storage), Some(log));
        }
    }
}

#[test]
fn votes_that_find_no_room_are_refused_and_nothing_else_is() {
    let mut world = World::new(15);
    let (storage, log) = world.open_log();
    world.disk.set_capacity(Some(used_bytes(&world)));
    let told: Arc<Mutex<Vec<_>>> = Arc::default();
    // The zeros that were written ahead give out in between.
    for term in 1..2000 {
        let answer = Arc::clone(&told);
        storage.votes().save(
            PARTITION,
            vote(term, 1),
            Box::new(move |result| answer.lock().unwrap().push(result)),
        );
        world.run();
    }
    let saved = told.lock().unwrap().iter().take_while(|result| result.is_ok()).count() as u64;
    assert!((300..1999).contains(&saved));
    assert!(told.lock().unwrap()[saved as usize..].iter().all(|r| matches!(r, Err(AppendError::DiskFull))));
    assert_eq!(storage.stopped(), None);
    assert_eq!(storage.votes().get(PARTITION), Some(vote(saved, 1)));
    world.crash(CrashMode::Torn, Some(storage), Some(log));
    let (storage, _log) = world.open_log();
    assert_eq!(storage.votes().get(PARTITION), Some(vote(saved, 1)));
    world.disk.set_capacity(None);
    save_vote_now(&world, &storage, 5000);
}

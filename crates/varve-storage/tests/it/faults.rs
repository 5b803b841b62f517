//! What the log does when the disk fails, is cut off, fills up or rots.

use crate::harness::*;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use varve_env::disk::{CrashMode, Disk, FaultyDisk, OpKind, OpenMode};
use varve_record::{Index, Offset};
use varve_storage::{AppendError, Entry, OpenError, PartitionLog, ReadError, StopReason, Storage};

const MODES: [CrashMode; 3] = [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly];

/// Does a bit of everything; stops at the first refusal. Gives the entries that were acknowledged and not taken back, and the
/// fewest and most entries that may be there afterwards.
struct Story {
    acknowledged: Vec<Entry>,
    /// A truncation under way when the disk failed: entries from here on may be gone.
    may_lose_from: usize,
    votes: u64,
    /// The vote that was being saved.
    vote_tried: u64,
}

fn tell(world: &World) -> Story {
    let mut story = Story { acknowledged: Vec::new(), may_lose_from: usize::MAX, votes: 0, vote_tried: 0 };
    let Some((storage, log)) = try_open_log(world) else { return story };
    tell_with(world, &storage, &log, &mut story);
    drop((storage, log));
    world.run();
    story
}

fn try_open_log(world: &World) -> Option<(Storage, PartitionLog)> {
    let storage = world.try_open().ok()?;
    let log = match storage.open_partition(PARTITION, world.config.clone()) {
        Err(OpenError::NoSuchPartition { .. }) => storage.create_partition(PARTITION, world.config.clone()),
        result => result,
    };
    log.ok().map(|log| (storage, log))
}

fn tell_with(world: &World, storage: &Storage, log: &PartitionLog, story: &mut Story) -> Option<()> {
    let write = |story: &mut Story, entries: Vec<Entry>| {
        let told = submit(log, entries.clone()).ok()?;
        let stamped = log.entries(entries[0].log_id.index, Index::new(u64::MAX), usize::MAX).ok();
        world.run();
        matches!(take(&told), Some(Ok(()))).then(|| story.acknowledged.extend(stamped.unwrap()))
    };
    for index in 0..12 {
        write(story, vec![sized(index * 2, 2, 4000), sized(index * 2 + 1, 1, 1000)])?;
    }
    save_vote(world, storage, story, 1)?;
    storage.tick();
    storage.tick();
    world.run();
    story.may_lose_from = 18;
    change_quietly(world, |done| log.truncate_after(Some(Index::new(17)), done))?;
    story.acknowledged.truncate(18);
    story.may_lose_from = usize::MAX;
    for index in 18..24 {
        write(story, vec![Entry { log_id: id(2, index), ..sized(index, 1, 4000) }])?;
    }
    change_quietly(world, |done| log.roll(done))?;
    save_vote(world, storage, story, 2)?;
    for index in 24..30 {
        write(story, vec![Entry { log_id: id(3, index), ..sized(index, 1, 9000) }])?;
    }
    log.set_committed(Index::new(10));
    log.trim(Offset::new(5));
    world.run();
    storage.close().ok()
}

fn save_vote(world: &World, storage: &Storage, story: &mut Story, term: u64) -> Option<()> {
    let told: Told<AppendError> = Arc::default();
    let answer = Arc::clone(&told);
    story.vote_tried = term;
    let done = move |result| *answer.lock().unwrap() = Some(result);
    storage.votes().save(PARTITION, vote(term, 1), Box::new(done));
    world.run();
    matches!(take(&told), Some(Ok(()))).then(|| story.votes = term)
}

fn change_quietly(
    world: &World,
    make: impl FnOnce(Box<dyn FnOnce(Result<(), varve_storage::LogError>) + Send>),
) -> Option<()> {
    change(world, make).ok()
}

/// Opens what the crash left and holds it to what was acknowledged.
fn check(world: &World, story: &Story, what: &str) {
    let (storage, log) = world.open_log();
    assert_eq!(log.damage(), None, "{what}");
    let entries = all_entries(&log);
    let first = log.first_index().get() as usize;
    let sure = story.acknowledged.len().min(story.may_lose_from);
    assert!(first + entries.len() >= sure, "{what}: {} of {sure} entries are left", first + entries.len());
    assert!(first <= 11, "{what}: committed up to 10 only, but the log begins at {first}");
    for (entry, expected) in entries.iter().zip(&story.acknowledged[first.min(story.acknowledged.len())..]) {
        assert_eq!(entry, expected, "{what}");
    }
    let term = storage.votes().get(PARTITION).map_or(0, |vote| vote.term.get());
    assert!(term == story.votes || term == story.vote_tried, "{what}: vote {term}, not {}", story.votes);
    // It goes on, and what is added is there after another start.
    let next = log.last_log_id().map_or(Index::new(0), |last| last.index.next());
    append(world, &log, vec![Entry { log_id: id(9, next.get()), ..entry(next.get(), 1) }]);
    let expected = all_entries(&log);
    world.close(storage, log);
    let (storage, log) = world.open_log();
    assert_eq!(all_entries(&log), expected, "{what}");
    world.close(storage, log);
}

/// A world whose disk has the data of a finished story.
fn steps_of_a_story() -> u64 {
    let world = World::new(1);
    let before = world.disk.changes();
    let story = tell(&world);
    assert_eq!((story.acknowledged.len(), story.votes), (30, 2), "the story is told to its end");
    check(&world, &story, "no fault");
    let world = World::new(1);
    tell(&world);
    world.disk.changes() - before
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    let steps = steps_of_a_story();
    assert!(steps > 100, "{steps} steps");
    for step in 0..steps {
        for mode in MODES {
            let mut world = World::new(step);
            world.disk.halt_after(step);
            let story = tell(&world);
            world.crash(mode, None, None);
            world.reseed(step + 1000);
            check(&world, &story, &format!("cut after {step} steps, {mode:?}"));
        }
    }
}

#[test]
fn a_second_power_cut_during_recovery_loses_nothing_either() {
    let steps = steps_of_a_story();
    for step in (0..steps).step_by(7) {
        for again in 0..12 {
            let mut world = World::new(step);
            world.disk.halt_after(step);
            let story = tell(&world);
            world.crash(CrashMode::Torn, None, None);
            world.reseed(step + 1000);
            world.disk.halt_after(again);
            drop(try_open_log(&world));
            world.run();
            world.crash(CrashMode::Torn, None, None);
            world.reseed(step + 2000);
            check(&world, &story, &format!("cut after {step} steps, then {again}"));
        }
    }
}

#[test]
fn every_failed_sync_and_write_stops_the_log_and_nothing_is_acknowledged_after_it() {
    for kind in [OpKind::Sync, OpKind::Write, OpKind::SyncDir, OpKind::Rename, OpKind::SetLen] {
        let count = count_of(kind);
        assert!(count > 0);
        for nth in 0..count {
            let mut world = World::new(nth);
            world.disk.fail_nth(kind, nth, ErrorKind::Other);
            let story = tell(&world);
            // The kernel may have thrown away what it could not write, and a restart of the process alone reads it back from
            // the cache as if nothing had happened; a power cut after that must not lose what the restart found.
            world.crash(CrashMode::ProcessOnly, None, None);
            world.reseed(nth + 1000);
            let what = format!("{kind:?} number {nth} failed");
            check_votes_and_reopen(&mut world, &story, &what);
            check(&world, &story, &what);
        }
    }
}

/// How often the story does something.
fn count_of(kind: OpKind) -> u64 {
    let world = World::new(1);
    drop(world.disk.take_journal());
    tell(&world);
    world.disk.take_journal().iter().filter(|op| op.kind == kind).count() as u64
}

/// Opens, notes what is there, cuts the power, and opens again.
fn check_votes_and_reopen(world: &mut World, story: &Story, what: &str) {
    let (storage, log) = world.open_log();
    let found = all_entries(&log);
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (storage, log) = world.open_log();
    assert_eq!(all_entries(&log), found, "{what}: what a start found is durable");
    assert!(
        found.len() as u64 + log.first_index().get()
            >= story.acknowledged.len().min(story.may_lose_from) as u64
    );
    world.close(storage, log);
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let world = World::new(1);
    let (storage, log) = world.open_log();
    append(&world, &log, vec![entry(0, 1)]);
    let told_owner: Arc<Mutex<Option<StopReason>>> = Arc::default();
    let owner = Arc::clone(&told_owner);
    storage.on_stopped(Box::new(move |reason| *owner.lock().unwrap() = Some(reason)));
    world.disk.fail_nth(OpKind::Sync, 0, ErrorKind::Other);
    let told = [submit(&log, vec![entry(1, 1)]).unwrap(), submit(&log, vec![entry(2, 1)]).unwrap()];
    world.run();
    for told in &told {
        assert!(matches!(take(told), Some(Err(AppendError::StorageStopped(StopReason::Failed(_))))));
    }
    let syncs = |disk: &FaultyDisk| disk.take_journal().iter().filter(|op| op.kind == OpKind::Sync).count();
    drop(world.disk.take_journal());
    assert!(matches!(submit(&log, vec![entry(3, 1)]), Err(AppendError::StorageStopped(_))));
    storage.tick();
    world.run();
    assert_eq!(syncs(&world.disk), 0);
    assert!(matches!(storage.stopped(), Some(StopReason::Failed(_))));
    assert!(told_owner.lock().unwrap().is_some());
    // What was durable is served, what may not be is not.
    assert_eq!(log.read(Offset::new(0), Offset::MAX, 1 << 20).unwrap().len(), 1);
    assert!(matches!(log.entries(Index::new(1), Index::new(9), 99), Err(ReadError::Stopped(_))));
    assert!(storage.close().is_err());
}

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

#[test]
fn short_reads_and_writes_change_nothing() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.disk.set_short_io(true);
        let story = tell(&world);
        assert_eq!(story.acknowledged.len(), 30);
        check(&world, &story, "short");
    }
}

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

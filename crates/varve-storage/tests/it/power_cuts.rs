//! What the log does when the disk fails, or the power is cut.

use crate::harness::*;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use varve_env::disk::{CrashMode, FaultyDisk, OpKind};
use varve_record::{Index, Offset};
use varve_storage::{AppendError, Entry, OpenError, PartitionLog, ReadError, StopReason, Storage};

pub(crate) const MODES: [CrashMode; 3] = [CrashMode::SyncedOnly, CrashMode::Torn, CrashMode::ProcessOnly];

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
fn short_reads_and_writes_change_nothing() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.disk.set_short_io(true);
        let story = tell(&world);
        assert_eq!(story.acknowledged.len(), 30);
        check(&world, &story, "short");
    }
}

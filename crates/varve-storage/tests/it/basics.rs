//! What the log does when nothing fails.

use crate::harness::*;
use bytes::Bytes;
use varve_env::disk::CrashMode;
use varve_record::{Index, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp};
use varve_storage::{
    AppendError, Entry, EntryKind, LogError, OpenError, ProducerCheck, ReadError, Retention,
};

/// Appends entries `0..count` of three records each, one at a time.
fn filled(world: &World, log: &varve_storage::PartitionLog, count: u64) {
    for index in 0..count {
        append(world, log, vec![sized(index, 3, 1000)]);
    }
}

#[test]
fn what_is_appended_can_be_read_by_index_and_offset() {
    let world = World::new(1);
    let (storage, log) = world.open_log();
    assert_eq!((log.last_log_id(), log.durable_index()), (None, None));
    append(&world, &log, vec![blank(0), entry(1, 2), entry(2, 3)]);
    append(&world, &log, vec![command(1, 3, b"set"), entry(4, 1)]);
    assert_eq!(log.last_log_id(), Some(id(1, 4)));
    assert_eq!(log.durable_index(), Some(Index::new(4)));
    assert_eq!(log.next_offset(), Offset::new(6));
    assert_eq!(all_batches(&log), [(0, 2), (2, 3), (5, 1)]);
    let kinds: Vec<_> = all_entries(&log).iter().map(|entry| entry.kind).collect();
    use EntryKind::{Batch, Blank, Command};
    assert_eq!(kinds, [Blank, Batch, Batch, Command, Batch]);
    // The batch that holds the offset comes first, and the high watermark bounds what is read.
    let some = log.read(Offset::new(3), Offset::new(5), 1 << 20).unwrap();
    assert_eq!(some.iter().map(|b| b.batch.base_offset().get()).collect::<Vec<_>>(), [2]);
    assert!(log.read(Offset::new(6), Offset::MAX, 1).unwrap().is_empty());
    assert_eq!(log.log_id_at(Index::new(3)).unwrap(), Some(id(1, 3)));
    world.close(storage, log);
}

#[test]
fn the_size_of_segments_can_be_altered_while_the_log_is_open() {
    let world = World::new(1);
    let (storage, log) = world.open_log();
    filled(&world, &log, 100);
    let small = log.segments().len();
    assert!(small > 3, "the log must span segments: {:?}", log.segments());
    log.set_segment_bytes(u64::MAX);
    for index in 100..200 {
        append(&world, &log, vec![sized(index, 3, 1000)]);
    }
    assert_eq!(log.segments().len(), small, "the greatest size takes a hundred entries more");
    world.close(storage, log);
}

#[test]
fn a_start_after_a_stop_or_a_crash_finds_all_that_was_acknowledged() {
    for mode in [None, Some(CrashMode::ProcessOnly), Some(CrashMode::SyncedOnly), Some(CrashMode::Torn)] {
        let mut world = World::new(2);
        let (storage, log) = world.open_log();
        filled(&world, &log, 100);
        assert!(log.segments().len() > 3, "the log must span segments: {:?}", log.segments());
        let (entries, batches, state) = (all_entries(&log), all_batches(&log), log.end_state());
        assert_eq!(entries.len(), 100);
        match mode {
            None => world.close(storage, log),
            Some(mode) => world.crash(mode, Some(storage), Some(log)),
        }
        let (storage, log) = world.open_log();
        assert_eq!(log.damage(), None);
        assert_eq!(log.end_state(), state, "{mode:?}");
        assert_eq!(log.durable_index(), Some(Index::new(99)));
        assert_eq!(all_batches(&log), batches, "{mode:?}");
        assert_eq!(all_entries(&log), entries, "{mode:?}");
        append(&world, &log, vec![entry(100, 1)]);
        assert_eq!(log.next_offset(), Offset::new(301));
        world.close(storage, log);
    }
}

#[test]
fn entries_can_be_read_before_they_are_durable() {
    let world = World::new(3);
    let (_storage, log) = world.open_log();
    let told = submit(&log, vec![entry(0, 1), entry(1, 1)]).unwrap();
    assert!(take(&told).is_none());
    assert_eq!(all_entries(&log).len(), 2);
    assert_eq!(log.durable_index(), None);
    let cached = log.try_read_cached(Offset::new(1), Offset::new(2), 1).unwrap();
    assert_eq!(cached[0].log_id, id(1, 1));
    world.run();
    assert!(matches!(take(&told), Some(Ok(()))));
    assert_eq!(log.durable_index(), Some(Index::new(1)));
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let world = World::new(4);
    let (_storage, log) = world.open_log();
    append(&world, &log, vec![command(3, 0, b"x")]);
    let gap = submit(&log, vec![command(3, 1, b"y"), command(3, 3, b"z")]);
    assert!(matches!(gap, Err(AppendError::NotContiguous { expected, .. }) if expected == Index::new(2)));
    assert!(matches!(submit(&log, vec![command(2, 1, b"y")]), Err(AppendError::TermFell { .. })));
    let huge = command(3, 1, &vec![0; varve_storage::BODY_BYTES_MAX + 1]);
    assert!(matches!(submit(&log, vec![huge]), Err(AppendError::TooLarge { .. })));
    let no_batch = Entry { kind: EntryKind::Batch, ..command(3, 1, b"no batch") };
    assert!(matches!(submit(&log, vec![no_batch]), Err(AppendError::Malformed { .. })));
    assert_eq!(log.last_log_id(), Some(id(3, 0)));
    append(&world, &log, vec![command(3, 1, b"y")]);
}

#[test]
fn a_full_queue_refuses_and_empties_again() {
    let mut world = World::new(5);
    world.config.queue_entries_max = 2;
    let (_storage, log) = world.open_log();
    let told = [submit(&log, vec![blank(0)]).unwrap(), submit(&log, vec![blank(1)]).unwrap()];
    assert!(matches!(submit(&log, vec![blank(2)]), Err(AppendError::QueueFull { .. })));
    world.run();
    assert!(told.iter().all(|told| matches!(take(told), Some(Ok(())))));
    append(&world, &log, vec![blank(2)]);
}

#[test]
fn a_suffix_is_taken_back_wherever_it_begins() {
    for last_kept in [None, Some(0), Some(20), Some(39), Some(41), Some(60), Some(98), Some(99)] {
        for restart in [false, true] {
            let mut world = World::new(6);
            let (mut storage, mut log) = world.open_log();
            filled(&world, &log, 100);
            let before = all_entries(&log);
            truncate(&world, &log, last_kept).unwrap();
            if restart {
                world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
                (storage, log) = world.open_log();
            }
            let kept = last_kept.map_or(0, |index| index as usize + 1);
            assert_eq!(log.damage(), None);
            assert_eq!(all_entries(&log), before[..kept], "{last_kept:?}");
            assert_eq!(log.next_offset(), Offset::new(kept as u64 * 3));
            let next = command(2, kept as u64, b"another");
            append(&world, &log, vec![next.clone(), entry_in_term(2, kept as u64 + 1)]);
            assert_eq!(all_batches(&log).len(), kept + 1);
            world.close(storage, log);
            let (_storage, log) = world.open_log();
            assert_eq!(all_entries(&log)[kept].body, next.body);
        }
    }
}

fn entry_in_term(term: u64, index: u64) -> Entry {
    Entry { log_id: id(term, index), ..entry(index, 1) }
}

#[test]
fn committed_entries_are_never_taken_back() {
    let world = World::new(7);
    let (_storage, log) = world.open_log();
    filled(&world, &log, 10);
    log.set_committed(Index::new(5));
    log.set_committed(Index::new(2));
    assert!(matches!(truncate(&world, &log, Some(4)), Err(LogError::Committed { .. })));
    assert!(matches!(truncate(&world, &log, None), Err(LogError::Committed { .. })));
    assert!(matches!(truncate(&world, &log, Some(50)), Err(LogError::OutOfRange { .. })));
    truncate(&world, &log, Some(5)).unwrap();
    assert_eq!(log.last_log_id(), Some(id(1, 5)));
}

#[test]
fn appends_wait_for_a_truncation() {
    let world = World::new(8);
    let (_storage, log) = world.open_log();
    filled(&world, &log, 3);
    log.truncate_after(Some(Index::new(1)), Box::new(|result| result.unwrap()));
    assert!(matches!(submit(&log, vec![blank(3)]), Err(AppendError::Truncating)));
    world.run();
    append(&world, &log, vec![blank(2)]);
}

#[test]
fn trimming_deletes_whole_segments_that_are_committed() {
    let mut world = World::new(9);
    let (storage, log) = world.open_log();
    filled(&world, &log, 100);
    let segments = log.segments();
    log.trim(Offset::new(200));
    world.run();
    assert_eq!(log.log_start_offset(), Offset::new(200));
    assert_eq!(log.segments(), segments, "nothing is known to be committed");
    assert!(matches!(
        log.read(Offset::new(199), Offset::MAX, 1),
        Err(ReadError::Trimmed { log_start }) if log_start == Offset::new(200)
    ));
    log.set_committed(Index::new(50));
    log.trim(Offset::new(200));
    world.run();
    let first = log.segments()[0];
    assert!(first.first_index <= Index::new(51) && first.first_index > Index::new(15), "{first:?}");
    log.set_committed(Index::new(99));
    log.trim(Offset::new(300));
    world.run();
    assert_eq!(log.segments().len(), 1, "the last segment stays");
    assert_eq!(log.log_start_offset(), Offset::new(300));
    assert!(matches!(log.entries(Index::new(0), Index::new(9), 9), Err(ReadError::Purged { .. })));
    let before = log.first_index().prev().unwrap();
    assert_eq!(log.log_id_at(before).unwrap(), Some(id(1, before.get())));
    let checkpoint = log.checkpoint_at_first_segment().unwrap();
    assert_eq!(checkpoint.last, Some(id(1, before.get())));
    let files = world.disk.files().len();
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    assert_eq!(world.disk.files().len(), files);
    let (_storage, log) = world.open_log();
    assert_eq!((log.damage(), log.segments().len()), (None, 1));
}

#[test]
fn a_trim_entry_moves_the_start_for_good() {
    let mut world = World::new(10);
    let (storage, log) = world.open_log();
    filled(&world, &log, 5);
    append(&world, &log, vec![Entry::trim(id(1, 5), time(5), Offset::new(7))]);
    assert_eq!(log.log_start_offset(), Offset::new(0));
    assert_eq!(log.end_state().log_start_offset, Offset::new(7));
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!(log.log_start_offset(), Offset::new(7));
}

#[test]
fn retention_names_the_offset_by_bytes_and_by_age() {
    let world = World::new(11);
    let (_storage, log) = world.open_log();
    filled(&world, &log, 100);
    let segments = log.segments();
    let none = Retention::default();
    assert_eq!(log.trim_point(none, Timestamp::new(i64::MAX)), None);
    let size = segments.iter().map(|segment| segment.size_bytes).sum::<u64>();
    assert_eq!(size, log.size_bytes());
    let bytes = Retention { bytes: Some(size - 1), age_ms: None };
    assert_eq!(log.trim_point(bytes, Timestamp::new(0)), Some(segments[1].base_offset));
    // The last entry of the second segment is the one before the third.
    let newest = (segments[2].first_index.get() - 1) * 10;
    let age = Retention { bytes: None, age_ms: Some(100) };
    assert_eq!(log.trim_point(age, Timestamp::new(newest as i64 + 100)), Some(segments[1].base_offset));
    assert_eq!(log.trim_point(age, Timestamp::new(newest as i64 + 101)), Some(segments[2].base_offset));
    // All has expired: the last segment is rolled, so that it can go next time.
    let last = segments.last().unwrap().base_offset;
    assert_eq!(log.trim_point(age, Timestamp::new(1_000_000)), Some(last));
    world.run();
    assert_eq!(log.trim_point(age, Timestamp::new(1_000_000)), Some(Offset::new(300)));
}

#[test]
fn an_offset_is_found_by_its_time() {
    let mut world = World::new(12);
    let (storage, log) = world.open_log();
    for index in 0..60 {
        append(&world, &log, vec![if index % 3 == 0 { blank(index) } else { sized(index, 2, 2000) }]);
    }
    for restart in [false, true] {
        let log = if restart {
            world.crash(CrashMode::SyncedOnly, Some(storage.clone()), None);
            world.open_log()
        } else {
            (storage.clone(), log.clone())
        };
        let batches: Vec<(i64, u64)> = all_entries(&log.1)
            .iter()
            .filter(|entry| entry.kind == EntryKind::Batch)
            .map(|entry| (entry.append_time.get(), entry.base_offset.get()))
            .collect();
        for wanted in [i64::MIN, 0, 1, 10, 11, 200, 205, 333, 580, 590, 591, i64::MAX] {
            let expected = batches.iter().find(|(time, _)| *time >= wanted).map(|(_, offset)| *offset);
            let found = log.1.offset_at_time(Timestamp::new(wanted)).unwrap();
            assert_eq!(found.map(Offset::get), expected, "time {wanted}");
        }
        log.1.trim(Offset::new(21));
        assert_eq!(log.1.offset_at_time(Timestamp::new(0)).unwrap(), Some(Offset::new(21)));
        log.1.trim(Offset::new(0));
    }
}

#[test]
fn a_snapshot_installs_a_state_without_its_entries() {
    let mut world = World::new(13);
    let (storage, log) = world.open_log();
    filled(&world, &log, 50);
    let mut state = log.end_state();
    state.last = Some(id(4, 1000));
    state.next_offset = Offset::new(5000);
    state.log_start_offset = Offset::new(4000);
    change(&world, |done| log.reset(state.clone(), done)).unwrap();
    assert_eq!(log.end_state(), state);
    append(&world, &log, vec![Entry { log_id: id(4, 1001), ..entry(1001, 2) }]);
    let state = log.end_state();
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!((log.damage(), log.end_state()), (None, state));
    assert_eq!(all_batches(&log), [(5000, 2)]);
    assert_eq!(log.segments().len(), 1);
}

#[test]
fn a_producer_is_known_again_after_a_restart() {
    let mut world = World::new(14);
    let (storage, log) = world.open_log();
    let producer = |index: u64, sequence: i32| {
        let mut builder = varve_record::BatchBuilder::new(varve_record::Compression::None);
        builder.push(Timestamp::new(0), None, Some(&[7; 3000]), &[]).unwrap();
        let builder = builder.producer(ProducerId::new(9), ProducerEpoch::new(1), Sequence::new(sequence));
        Entry::batch(id(1, index), time(index), builder.build().unwrap())
    };
    for index in 0..60 {
        append(&world, &log, vec![producer(index, index as i32)]);
    }
    assert!(log.segments().len() > 2);
    let check = |log: &varve_storage::PartitionLog, sequence| {
        log.check_producer(ProducerId::new(9), ProducerEpoch::new(1), Sequence::new(sequence), 1)
    };
    let table = log.end_state().producers;
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!(log.end_state().producers, table);
    assert_eq!(check(&log, 60), ProducerCheck::New);
    assert!(matches!(check(&log, 59), ProducerCheck::Duplicate { index, .. } if index == Index::new(59)));
    // What is taken back is forgotten.
    truncate(&world, &log, Some(30)).unwrap();
    assert_eq!(check(&log, 59), ProducerCheck::OutOfOrder { expected: Sequence::new(31) });
    assert!(matches!(check(&log, 30), ProducerCheck::Duplicate { .. }));
}

#[test]
fn partitions_are_made_once_opened_once_and_removed_for_good() {
    let world = World::new(15);
    let (storage, log) = world.open_log();
    let again = storage.create_partition(PARTITION, world.config.clone());
    assert!(matches!(again, Err(OpenError::PartitionExists { .. })));
    let again = storage.open_partition(PARTITION, world.config.clone());
    assert!(matches!(again, Err(OpenError::PartitionOpen { .. })));
    let other = storage.create_partition(PartitionId::new(22), world.config.clone()).unwrap();
    assert_eq!(storage.partition_ids().unwrap(), [PARTITION, PartitionId::new(22)]);
    storage.remove_partition(PartitionId::new(22)).unwrap();
    assert!(matches!(submit(&other, vec![blank(0)]), Err(AppendError::StorageStopped(_))));
    assert_eq!(storage.partition_ids().unwrap(), [PARTITION]);
    let gone = storage.open_partition(PartitionId::new(22), world.config.clone());
    assert!(matches!(gone, Err(OpenError::NoSuchPartition { .. })));
    append(&world, &log, vec![blank(0)]);
    // Made again under the same number, it holds nothing of its former self.
    let again = storage.create_partition(PartitionId::new(22), world.config.clone()).unwrap();
    append(&world, &again, vec![command(5, 0, b"new")]);
    assert_eq!(all_entries(&again)[0].body, "new");
}

#[test]
fn a_second_owner_of_the_directory_is_refused() {
    let world = World::new(16);
    let storage = world.open();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }) && error.to_string().contains(DIR), "{error}");
    drop(storage);
    world.run();
    world.open();
}

#[test]
fn votes_identity_and_snapshots_last() {
    let mut world = World::new(17);
    let (storage, log) = world.open_log();
    storage.set_node_file(Bytes::from_static(b"node 7")).unwrap();
    log.save_snapshot(Bytes::from_static(b"snapshot")).unwrap();
    for term in 1..200 {
        let group = PartitionId::new(term % 5);
        storage.votes().save(group, vote(term, term + 1), Box::new(|result| result.unwrap()));
        world.run();
        assert_eq!(storage.votes().get(group), Some(vote(term, term + 1)));
    }
    world.crash(CrashMode::SyncedOnly, Some(storage), Some(log));
    let (storage, log) = world.open_log();
    assert_eq!(storage.node_file().unwrap(), "node 7");
    assert_eq!(log.read_snapshot().unwrap().unwrap(), "snapshot");
    for group in 0..5 {
        assert_eq!(storage.votes().get(PartitionId::new(group)), Some(vote(195 + group, 196 + group)));
    }
    storage.votes().forget(PartitionId::new(3), Box::new(|result| result.unwrap()));
    world.run();
    world.close(storage, log);
    assert_eq!(world.open().votes().get(PartitionId::new(3)), None);
}

#[test]
fn a_recycled_file_never_brings_old_entries_back() {
    let mut world = World::new(18);
    let (storage, log) = world.open_log();
    filled(&world, &log, 60);
    log.set_committed(Index::new(59));
    log.trim(Offset::new(180));
    world.run();
    assert!(world.disk.files().iter().any(|file| file.to_string_lossy().ends_with(".free")));
    let entries = all_entries(&log).len();
    // The next segments are made of the files of the old ones, whose frames lie behind the new.
    for index in 60..80 {
        append(&world, &log, vec![sized(index, 1, 3000)]);
    }
    let expected = all_entries(&log);
    assert_eq!(expected.len(), entries + 20);
    world.crash(CrashMode::Torn, Some(storage), Some(log));
    let (storage, log) = world.open_log();
    assert_eq!(all_entries(&log), expected);
    world.crash(CrashMode::ProcessOnly, Some(storage), Some(log));
    let (_storage, log) = world.open_log();
    assert_eq!(all_entries(&log), expected);
    for index in 80..100 {
        append(&world, &log, vec![sized(index, 1, 3000)]);
    }
    assert_eq!((log.damage(), log.last_log_id()), (None, Some(id(1, 99))));
    assert_eq!(all_entries(&log).len(), entries + 40);
}

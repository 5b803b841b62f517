//! The same log with real threads on the real disk.

use crate::harness::{entry, id, sized, time};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use varve_env::Env;
use varve_record::{Index, Offset, PartitionId};
use varve_storage::{
    AppendError, Entry, OpenError, PartitionConfig, PartitionLog, ReadError, Storage, StorageConfig,
};

const PARTITION: PartitionId = PartitionId::new(1);

fn open(dir: &Path) -> Storage {
    Storage::open(&Env::real(), dir, StorageConfig::default()).unwrap()
}

fn config() -> PartitionConfig {
    PartitionConfig { segment_bytes: 256 * 1024, tail_cache_bytes: 16 * 1024, ..PartitionConfig::default() }
}

fn append_and_wait(log: &PartitionLog, entries: Vec<Entry>) -> Result<(), AppendError> {
    let (told, answer) = mpsc::channel();
    log.append(entries, Box::new(move |result| drop(told.send(result))))?;
    answer.recv().unwrap()
}

#[test]
fn what_many_threads_append_is_there_after_a_start() {
    const PARTITIONS: u64 = 6;
    const ENTRIES: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    thread::scope(|scope| {
        for number in 0..PARTITIONS {
            let storage = &storage;
            scope.spawn(move || {
                let log = storage.create_partition(PartitionId::new(number), config()).unwrap();
                for index in 0..ENTRIES {
                    append_and_wait(&log, vec![sized(index, 2, number as usize * 100)]).unwrap();
                    storage.tick();
                }
            });
        }
    });
    storage.close().unwrap();
    drop(storage);
    let storage = open(dir.path());
    for number in 0..PARTITIONS {
        let log = storage.open_partition(PartitionId::new(number), config()).unwrap();
        assert_eq!((log.damage(), log.next_offset()), (None, Offset::new(ENTRIES * 2)));
        let mut next = Index::new(0);
        while next < Index::new(ENTRIES) {
            for entry in log.entries(next, Index::new(u64::MAX), 10_000).unwrap() {
                assert_eq!(entry.log_id.index, next);
                next = next.next();
            }
        }
    }
}

#[test]
fn readers_never_meet_a_file_that_is_written_over() {
    const ENTRIES: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let log = storage.create_partition(PARTITION, config()).unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for reader in 0..3 {
            let (log, done, reads) = (&log, &done, &reads);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    // From the very start, where segments are deleted, or near it.
                    let from = log.log_start_offset() + reader * 10;
                    match log.read(from, log.next_offset(), 100_000) {
                        Ok(batches) => {
                            let first = batches.first().map(|stored| stored.batch.base_offset());
                            assert!(
                                first.is_none_or(|first| first == from),
                                "asked for {from}, got {first:?}"
                            );
                            reads.fetch_add(batches.len() as u64, Ordering::Relaxed);
                        }
                        Err(ReadError::Trimmed { log_start }) => assert!(log_start > from),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for index in 0..ENTRIES {
            append_and_wait(&log, vec![sized(index, 1, 2000)]).unwrap();
            log.set_committed(Index::new(index));
            log.trim(Offset::new(index.saturating_sub(200)));
        }
        done.store(true, Ordering::Release);
    });
    assert!(reads.load(Ordering::Relaxed) > 0);
    assert!(log.segments().len() < 10, "segments were deleted: {}", log.segments().len());
    assert_eq!(log.damage(), None);
}

#[test]
fn appends_race_and_keep_their_order() {
    const THREADS: usize = 8;
    const ENTRIES: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let log = storage.create_partition(PARTITION, config()).unwrap();
    let (told, answers) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (log, told) = (&log, told.clone());
            scope.spawn(move || {
                loop {
                    let index = log.last_log_id().map_or(0, |last| last.index.get() + 1);
                    if index >= ENTRIES {
                        return;
                    }
                    let told = told.clone();
                    let done =
                        move |result: Result<(), AppendError>| told.send(result.map(|()| index)).unwrap();
                    // Another thread may have been first.
                    match log.append(vec![entry(index, 1)], Box::new(done)) {
                        Ok(_) | Err(AppendError::NotContiguous { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    drop(told);
    let answered: Vec<u64> = answers.iter().take(ENTRIES as usize).map(|result| result.unwrap()).collect();
    assert_eq!(answered, (0..ENTRIES).collect::<Vec<_>>(), "answers come in the log's order");
    assert_eq!(log.durable_index(), Some(Index::new(ENTRIES - 1)));
    let entries = log.entries(Index::new(0), Index::new(u64::MAX), usize::MAX).unwrap();
    assert_eq!(entries[7].log_id, id(1, 7));
    assert_eq!(entries[7].append_time, time(7));
}

#[test]
fn a_second_process_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let refused = Storage::open(&Env::real(), dir.path(), StorageConfig::default());
    let error = refused.unwrap_err();
    assert!(matches!(&error, OpenError::Locked { dir: named } if named == dir.path()), "{error}");
    drop(storage);
    open(dir.path());
}

#[test]
fn what_was_queued_is_written_when_the_last_handle_goes() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let log = storage.create_partition(PARTITION, config()).unwrap();
    let (told, answers) = mpsc::channel();
    for index in 0..100 {
        let told = told.clone();
        log.append(vec![entry(index, 1)], Box::new(move |result| drop(told.send(result)))).unwrap();
    }
    drop((log, storage, told));
    assert!(answers.iter().all(|result| result.is_ok()));
    let storage = open(dir.path());
    let log = storage.open_partition(PARTITION, config()).unwrap();
    assert_eq!(log.next_offset(), Offset::new(100));
}

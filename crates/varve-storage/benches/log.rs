//! The log beside the machine's bare limits, measured in the same run.
//!
//! `cargo bench -p varve-storage --bench log -- [WHAT...] [--open-gib N]`: WHAT is any of `bulk`, `single`, `many`, `read`,
//! `open`; all by default. Files go into a directory of their own under `VARVE_BENCH_DIR`, or the system's temporary
//! directory, and are removed afterwards. Figures are medians.

use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use varve_env::Env;
use varve_record::{Batch, BatchBuilder, Compression, Index, Offset, PartitionId, Term, Timestamp};
use varve_storage::{AppendError, Entry, LogId, PartitionConfig, PartitionLog, Storage, StorageConfig};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const PARTITION: PartitionId = PartitionId::new(1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let gib =
        arguments.iter().position(|a| a == "--open-gib").and_then(|at| arguments.get(at + 1)?.parse().ok());
    let named: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|a| a.starts_with(char::is_alphabetic)).collect();
    let wants = |name: &str| named.is_empty() || named.contains(&name);
    let base = std::env::var_os("VARVE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new()
        .prefix("varve-bench-")
        .tempdir_in(base)
        .expect("the directory must be writable");
    if wants("bulk") {
        bulk(dir.path());
    }
    if wants("single") {
        single(dir.path());
    }
    if wants("many") {
        many(dir.path());
    }
    if wants("read") {
        read(dir.path());
    }
    if wants("open") {
        open(dir.path(), gib.unwrap_or(10));
    }
}

/// 1 MiB appends synced every 8 MiB, beside a bare write and fdatasync loop, in turns.
fn bulk(dir: &Path) {
    const ROUNDS: usize = 9;
    const APPENDS: usize = 128;
    const IN_FLIGHT: usize = 16;
    let place = Place::new(dir, "bulk");
    let storage = place.storage();
    let log = storage.create_partition(PARTITION, PartitionConfig::default()).expect("a new partition");
    let body = batch(MIB).into_bytes();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(bare_bulk(&place.path.join(format!("bare-{round}")), &body, APPENDS));
        let begun = Instant::now();
        let (told, answers) = mpsc::channel::<Result<(), AppendError>>();
        for sent in 0..APPENDS {
            if sent >= IN_FLIGHT {
                answers.recv().expect("an answer").expect("an append");
            }
            append(&log, Batch::from_trusted(body.clone()).expect("a batch"), told.clone());
        }
        (0..IN_FLIGHT).for_each(|_| answers.recv().expect("an answer").expect("an append"));
        ours.push(begun.elapsed());
        log.set_committed(log.durable_index().expect("entries"));
        log.trim(log.next_offset());
    }
    let rate = |time: Duration| (APPENDS * MIB) as f64 / MIB as f64 / time.as_secs_f64();
    let (bare, ours) = (median(bare), median(ours));
    println!(
        "bulk: 1 MiB appends, a sync each 8 MiB: {:.0} MiB/s; bare {:.0} MiB/s; {:.0} % (target: at least 80 %)",
        rate(ours),
        rate(bare),
        rate(ours) / rate(bare) * 100.0
    );
    storage.close().expect("a clean stop");
}

fn bare_bulk(path: &Path, body: &[u8], appends: usize) -> Duration {
    let file = File::create(path).expect("a file");
    let begun = Instant::now();
    for n in 0..appends {
        file.write_all_at(body, (n * body.len()) as u64).expect("a write");
        if n % 8 == 7 {
            file.sync_data().expect("a sync");
        }
    }
    let time = begun.elapsed();
    std::fs::remove_file(path).expect("to remove it");
    time
}

/// One 1 KiB append at a time, each acknowledged after its sync, beside a bare write and fdatasync over written blocks.
fn single(dir: &Path) {
    const ROUNDS: usize = 20;
    const APPENDS: usize = 200;
    let place = Place::new(dir, "single");
    let storage = place.storage();
    let log = storage.create_partition(PARTITION, PartitionConfig::default()).expect("a new partition");
    let body = batch(KIB).into_bytes();
    let grown = File::create(place.path.join("bare-grown")).expect("a file");
    let written = File::create(place.path.join("bare-written")).expect("a file");
    written.write_all_at(&vec![1; ROUNDS * APPENDS * KIB * 2], 0).expect("a write");
    written.sync_all().expect("a sync");
    let (mut bare_grown, mut bare_written, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for n in 0..APPENDS {
            let position = ((round * APPENDS + n) * body.len()) as u64;
            bare_grown.push(timed(|| write_sync(&grown, &body, position)));
        }
        for n in 0..APPENDS {
            let position = ((round * APPENDS + n) * body.len()) as u64;
            bare_written.push(timed(|| write_sync(&written, &body, position)));
        }
        for _ in 0..APPENDS {
            let batch = Batch::from_trusted(body.clone()).expect("a batch");
            ours.push(timed(|| append_and_wait(&log, batch)));
        }
    }
    let (grown, written, ours) = (median(bare_grown), median(bare_written), median(ours));
    println!(
        "single: a 1 KiB append acknowledged after its sync: {ours:.0?}; bare, growing file: {grown:.0?} ({:.2} x); bare, over \
         written blocks: {written:.0?} ({:.2} x) (target: at most 1.3 x)",
        ours.as_secs_f64() / grown.as_secs_f64(),
        ours.as_secs_f64() / written.as_secs_f64(),
    );
    storage.close().expect("a clean stop");
}

fn write_sync(file: &File, body: &[u8], position: u64) {
    file.write_all_at(body, position).expect("a write");
    file.sync_data().expect("a sync");
}

/// Measures appends a second by so many appenders, for so long.
type Rate = fn(&PartitionLog, usize, Duration) -> f64;

/// 64 appenders that each wait for their acknowledgement, beside one: as tasks of one thread, as in a server, and as threads,
/// where most of the time goes into waking them.
fn many(dir: &Path) {
    const ROUNDS: usize = 9;
    const APPENDERS: usize = 64;
    const TIME: Duration = Duration::from_millis(400);
    let place = Place::new(dir, "many");
    let storage = place.storage();
    let log = storage.create_partition(PARTITION, PartitionConfig::default()).expect("a new partition");
    let rates: [(&str, Rate); 2] = [("tasks", tasks), ("threads", appenders)];
    for (what, rate) in rates {
        let (mut one, mut all) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            one.push(rate(&log, 1, TIME));
            all.push(rate(&log, APPENDERS, TIME));
        }
        let (one, all) = (median(one), median(all));
        println!(
            "many: 64 appenders of 1 KiB as {what}: {all:.0}/s; one: {one:.0}/s; {:.1} x (target: at least 20 x)",
            all / one
        );
    }
    storage.close().expect("a clean stop");
}

/// Appends a second by so many tasks of one thread.
fn tasks(log: &PartitionLog, count: usize, time: Duration) -> f64 {
    let body = batch(KIB).into_bytes();
    let begun = Instant::now();
    let appender = || async {
        let mut appended = 0;
        while begun.elapsed() < time {
            let (told, answer) = futures::channel::oneshot::channel();
            let batch = Batch::from_trusted(body.clone()).expect("a batch");
            append_with(log, batch, move |result| drop(told.send(result)));
            answer.await.expect("an answer").expect("an append");
            appended += 1;
        }
        appended
    };
    let all = futures::future::join_all((0..count).map(|_| appender()));
    let appended: usize = futures::executor::block_on(all).into_iter().sum();
    appended as f64 / begun.elapsed().as_secs_f64()
}

/// Appends a second by so many threads.
fn appenders(log: &PartitionLog, count: usize, time: Duration) -> f64 {
    let body = batch(KIB).into_bytes();
    let order = std::sync::Mutex::new(());
    let begun = Instant::now();
    let appended: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let (body, order) = (&body, &order);
                scope.spawn(move || {
                    let mut appended = 0;
                    let (told, answer) = mpsc::channel();
                    while begun.elapsed() < time {
                        let batch = Batch::from_trusted(body.clone()).expect("a batch");
                        {
                            // The index is taken and the entry appended in one step, as a proposer does.
                            let _order = order.lock().expect("no thread panics");
                            append(log, batch, told.clone());
                        }
                        answer.recv().expect("an answer").expect("an append");
                        appended += 1;
                    }
                    appended
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
    });
    appended as f64 / begun.elapsed().as_secs_f64()
}

/// Encoded batches read back from the page cache, every checksum verified.
fn read(dir: &Path) {
    const ROUNDS: usize = 9;
    const BYTES: usize = 512 * MIB;
    for batch_bytes in [16 * KIB, MIB] {
        let place = Place::new(dir, "read");
        let storage = place.storage();
        let config = PartitionConfig { tail_cache_bytes: 0, ..PartitionConfig::default() };
        let log = storage.create_partition(PARTITION, config).expect("a new partition");
        fill(&log, BYTES, batch_bytes);
        let path = place.path.join("data/partitions/0000000001");
        let bare = median((0..ROUNDS).map(|_| timed(|| bare_read(&path))).collect());
        assert!(read_all(&log) > BYTES * 9 / 10, "all of it is read");
        let ours = median((0..ROUNDS).map(|_| timed(|| assert!(read_all(&log) > 0))).collect());
        let rate = |time: Duration| BYTES as f64 / 1e9 / time.as_secs_f64();
        println!(
            "read: batches of {} KiB from the page cache: {:.2} GB/s; bare reads of 1 MiB: {:.2} GB/s (target: at least 1.5 GB/s)",
            batch_bytes / KIB,
            rate(ours),
            rate(bare)
        );
        storage.close().expect("a clean stop");
    }
}

fn bare_read(dir: &Path) {
    let mut buffer = vec![0; MIB];
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let file = File::open(entry.expect("an entry").path()).expect("a file");
        let mut position = 0;
        loop {
            match file.read_at(&mut buffer, position).expect("a read") {
                0 => break,
                n => position += n as u64,
            }
        }
    }
}

/// Reads the whole log, a mebibyte at a time; gives the bytes of its batches.
fn read_all(log: &PartitionLog) -> usize {
    let (mut next, mut bytes) = (Offset::new(0), 0);
    loop {
        let batches = log.read(next, Offset::MAX, MIB).expect("a read");
        let Some(last) = batches.last() else { return bytes };
        next = last.batch.last_offset().next();
        bytes += batches.iter().map(|stored| stored.batch.size_bytes()).sum::<usize>();
    }
}

/// Opening a large partition after a clean stop and after a kill.
fn open(dir: &Path, gib: usize) {
    const ROUNDS: usize = 9;
    let place = Place::new(dir, "open");
    let storage = place.storage();
    let log = storage.create_partition(PARTITION, PartitionConfig::default()).expect("a new partition");
    fill(&log, gib * KIB * MIB, MIB);
    // The last segment holds small batches, as most do.
    fill(&log, 100 * MIB, 4 * KIB);
    let segments = log.segments();
    let (count, last_mib) = (segments.len(), segments.last().map_or(0, |last| last.size_bytes / MIB as u64));
    // A kill: nothing but what is on the disk is left.
    drop(log);
    drop(storage);
    let killed = median(
        (0..ROUNDS)
            .map(|_| {
                let storage = place.storage();
                let time = timed(|| {
                    drop(storage.open_partition(PARTITION, PartitionConfig::default()).expect("to open"))
                });
                drop(storage);
                time
            })
            .collect(),
    );
    let clean = median(
        (0..ROUNDS)
            .map(|_| {
                let storage = place.storage();
                let log = storage.open_partition(PARTITION, PartitionConfig::default()).expect("to open");
                storage.close().expect("a clean stop");
                drop((log, storage));
                let begun = Instant::now();
                let storage = place.storage();
                let log = storage.open_partition(PARTITION, PartitionConfig::default()).expect("to open");
                let time = begun.elapsed();
                drop((log, storage));
                time
            })
            .collect(),
    );
    println!(
        "open: {gib} GiB in {count} segments: after a clean stop {clean:.1?} (target: under 100 ms); after a kill {killed:.1?} \
         (the last segment's {last_mib} MiB are read)"
    );
}

/// A directory that is removed afterwards.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self { path }
    }

    fn storage(&self) -> Storage {
        Storage::open(&Env::real(), &self.path.join("data"), StorageConfig::default())
            .expect("a data directory")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// Appends batches of a size until so many bytes are durable.
fn fill(log: &PartitionLog, bytes: usize, batch_bytes: usize) {
    const IN_FLIGHT: usize = 16;
    let body = batch(batch_bytes).into_bytes();
    let (told, answers) = mpsc::channel::<Result<(), AppendError>>();
    let appends = bytes / batch_bytes;
    for sent in 0..appends {
        if sent >= IN_FLIGHT {
            answers.recv().expect("an answer").expect("an append");
        }
        append(log, Batch::from_trusted(body.clone()).expect("a batch"), told.clone());
    }
    (0..IN_FLIGHT.min(appends)).for_each(|_| answers.recv().expect("an answer").expect("an append"));
}

fn append_and_wait(log: &PartitionLog, batch: Batch) {
    let (told, answer) = mpsc::channel();
    append(log, batch, told);
    answer.recv().expect("an answer").expect("an append");
}

fn append(log: &PartitionLog, batch: Batch, told: mpsc::Sender<Result<(), AppendError>>) {
    append_with(log, batch, move |result| drop(told.send(result)));
}

fn append_with(
    log: &PartitionLog,
    batch: Batch,
    done: impl FnOnce(Result<(), AppendError>) + Send + 'static,
) {
    let index = log.last_log_id().map_or(Index::new(0), |last| last.index.next());
    let batch = batch.with_base_offset(log.next_offset());
    let entry = Entry::batch(LogId::new(Term::new(1), index), Timestamp::new(index.get() as i64), batch);
    log.append(vec![entry], Box::new(done)).expect("an append");
}

/// A batch of about so many bytes.
fn batch(bytes: usize) -> Batch {
    let value = Bytes::from(vec![7; bytes - 61 - 16]);
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(Timestamp::new(0), None, Some(&value), &[]).expect("a record");
    builder.build().expect("a batch")
}

fn timed(call: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    call();
    begun.elapsed()
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("measurements compare"));
    values[values.len() / 2]
}

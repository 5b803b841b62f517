//! Generated histories, against a model that is a list.

use crate::harness::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use varve_env::disk::{CrashMode, Disk};
use varve_record::{BatchBuilder, Compression, Index, Offset, ProducerEpoch, ProducerId, Sequence};
use varve_storage::{Entry, EntryKind, PartitionLog, ProducerCheck, Storage};

/// One thing done to a log.
#[derive(Clone, Debug)]
enum Step {
    /// Appends entries; the writer runs afterwards, or not yet.
    Append {
        entries: Vec<Made>,
        run: bool,
    },
    /// Takes back all but so many of the uncommitted entries.
    Truncate {
        keep: u8,
    },
    Roll,
    /// Commits a part of what is durable, and trims to a part of that.
    Trim {
        commit: u8,
        trim: u8,
    },
    /// Lets time pass, twice: the log goes idle.
    Tick,
    Reopen,
    Crash(CrashMode),
    /// Removes the index files while the storage is closed.
    LoseIndexes,
}

/// What an entry is made of.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    kind: u8,
    records: u8,
    value_bytes: u16,
    compression: u8,
    producer: Option<u8>,
    /// Whether the producer begins a new epoch.
    new_epoch: bool,
    term_up: bool,
}

pub(crate) fn made() -> impl Strategy<Value = Made> {
    let producer = prop_oneof![2 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let size = prop_oneof![8 => 0u16..300, 2 => 300u16..9000, 1 => 9000u16..40_000];
    (0u8..8, 1u8..5, size, 0u8..5, producer, proptest::bool::weighted(0.1), proptest::bool::weighted(0.05))
        .prop_map(|(kind, records, value_bytes, compression, producer, new_epoch, term_up)| Made {
            kind,
            records,
            value_bytes,
            compression,
            producer,
            new_epoch,
            term_up,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let crash = prop_oneof![
        Just(Step::Crash(CrashMode::SyncedOnly)),
        Just(Step::Crash(CrashMode::Torn)),
        Just(Step::Crash(CrashMode::ProcessOnly)),
    ];
    prop_oneof![
        12 => (prop::collection::vec(made(), 1..6), any::<bool>())
            .prop_map(|(entries, run)| Step::Append { entries, run }),
        2 => any::<u8>().prop_map(|keep| Step::Truncate { keep }),
        1 => Just(Step::Roll),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(commit, trim)| Step::Trim { commit, trim }),
        1 => Just(Step::Tick),
        1 => Just(Step::Reopen),
        3 => crash,
        1 => Just(Step::LoseIndexes),
    ]
}

/// So many cases, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        config
    } else {
        ProptestConfig { cases: usual, ..config }
    }
}

/// What a log must hold.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) entries: Vec<Entry>,
    /// Entries that were acknowledged: no crash takes them.
    pub(crate) durable: usize,
    pub(crate) committed: Option<usize>,
    pub(crate) log_start: u64,
    /// Epoch and next sequence of each producer, by the entries.
    pub(crate) term: u64,
}

impl Model {
    pub(crate) fn next_offset(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.next_offset().get())
    }

    /// The producers' epochs and next sequences, from the entries alone.
    fn producers(&self) -> BTreeMap<i64, (i16, i32)> {
        let mut producers = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.kind == EntryKind::Batch) {
            if let Some((id, epoch, sequence)) = entry.to_batch().unwrap().producer() {
                let next = sequence.wrapping_add(entry.record_count).get();
                producers.insert(id.get(), (epoch.get(), next));
            }
        }
        producers
    }

    /// The next entry, as a proposer would make it.
    pub(crate) fn make(&mut self, made: &Made) -> Entry {
        self.term += u64::from(made.term_up || self.term == 0);
        let index = self.entries.len() as u64;
        let log_id = id(self.term, index);
        let mut entry = match made.kind {
            0 => Entry::blank(log_id, time(index)),
            1 => Entry::command(log_id, time(index), vec![made.records; made.value_bytes.into()].into()),
            2 => Entry::membership(log_id, time(index), vec![7; made.records.into()].into()),
            _ => Entry::batch(log_id, time(index), self.make_batch(made)),
        };
        entry.base_offset = Offset::new(self.next_offset());
        entry
    }

    fn make_batch(&self, made: &Made) -> varve_record::Batch {
        let mut builder = BatchBuilder::new(Compression::ALL[usize::from(made.compression)]);
        for record in 0..made.records {
            let value: Vec<u8> = (0..made.value_bytes).map(|n| (n as u8).wrapping_mul(31) ^ record).collect();
            builder.push(time(self.entries.len() as u64), None, Some(&value), &[]).unwrap();
        }
        if let Some(producer) = made.producer {
            let known = self.producers().get(&producer.into()).copied();
            let (epoch, sequence) = match known {
                Some((epoch, _)) if made.new_epoch => (epoch + 1, 0),
                Some(known) => known,
                None => (0, 0),
            };
            let (epoch, sequence) = (ProducerEpoch::new(epoch), Sequence::new(sequence));
            builder.producer(ProducerId::new(producer.into()), epoch, sequence);
        }
        builder.build().unwrap().with_base_offset(Offset::new(self.next_offset()))
    }

    pub(crate) fn truncate(&mut self, keep: usize) {
        self.entries.truncate(keep);
        self.durable = self.durable.min(keep);
    }
}

/// A log and its model.
struct Run {
    world: World,
    open: Option<(Storage, PartitionLog)>,
    model: Model,
    told: Vec<(usize, Told<varve_storage::AppendError>)>,
}

impl Run {
    fn new() -> Self {
        let mut world = World::new(1);
        // Several kinds of caches: none at all, so that files are read, and one that holds a part.
        world.config.tail_cache_bytes = 20_000;
        let open = Some(world.open_log());
        Self { world, open, model: Model::default(), told: Vec::new() }
    }

    fn log(&self) -> &PartitionLog {
        &self.open.as_ref().unwrap().1
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append { entries, run } => self.append(entries, *run),
            Step::Truncate { keep } => {
                self.run();
                let floor = self.model.committed.map_or(0, |index| index + 1).max(self.first());
                let keep = floor + usize::from(*keep) % (self.model.entries.len() - floor + 1);
                let last_kept = keep.checked_sub(1).map(|index| index as u64);
                // All of a log whose beginning is gone cannot be taken back to nothing.
                truncate(&self.world, self.log(), last_kept).unwrap();
                self.model.truncate(keep);
            }
            Step::Roll => {
                roll(&self.world, self.log());
                self.settle();
            }
            Step::Trim { commit, trim } => self.trim(*commit, *trim),
            Step::Tick => {
                let storage = self.open.as_ref().unwrap().0.clone();
                for _ in 0..2 {
                    storage.tick();
                    self.run();
                }
            }
            Step::Reopen => {
                self.run();
                let (storage, log) = self.open.take().unwrap();
                self.world.close(storage, log);
                self.settle();
                self.reopen();
            }
            Step::Crash(mode) => {
                let (storage, log) = self.open.take().unwrap();
                self.settle();
                self.told.clear();
                self.world.crash(*mode, Some(storage), Some(log));
                self.reopen();
            }
            Step::LoseIndexes => {
                self.run();
                let (storage, log) = self.open.take().unwrap();
                self.world.close(storage, log);
                self.settle();
                for path in self.world.files(".index") {
                    self.world.disk.remove_file(&path).unwrap();
                }
                self.reopen();
            }
        }
    }

    fn append(&mut self, made: &[Made], run: bool) {
        let mut entries = Vec::new();
        for made in made {
            let entry = self.model.make(made);
            self.model.entries.push(entry.clone());
            entries.push(entry);
        }
        let told = submit(self.log(), entries).unwrap();
        self.told.push((self.model.entries.len(), told));
        if run {
            self.run();
        }
    }

    fn trim(&mut self, commit: u8, trim: u8) {
        self.run();
        if self.model.durable == 0 {
            return;
        }
        let committed = usize::from(commit) % self.model.durable;
        let committed = self.model.committed.map_or(committed, |before| before.max(committed));
        self.model.committed = Some(committed);
        self.log().set_committed(Index::new(committed as u64));
        let end = self.model.entries[committed].next_offset().get();
        let start = u64::from(trim) % (end + 1);
        self.model.log_start = self.model.log_start.max(start);
        self.log().trim(Offset::new(start));
        self.run();
    }

    fn run(&mut self) {
        self.world.run();
        self.settle();
    }

    /// Takes note of what was acknowledged.
    fn settle(&mut self) {
        let model = &mut self.model;
        self.told.retain(|(end, told)| match take(told) {
            Some(Ok(())) => {
                model.durable = model.durable.max(*end);
                false
            }
            Some(Err(error)) => panic!("{error}"),
            None => true,
        });
    }

    /// Opens the log after a stop or a crash: whatever was not durable may be gone, from some entry on.
    fn reopen(&mut self) {
        self.open = Some(self.world.open_log());
        assert_eq!(self.log().damage(), None);
        let found = self.log().last_log_id().map_or(0, |last| last.index.get() as usize + 1);
        assert!(found >= self.model.durable, "{found} entries of {} durable ones", self.model.durable);
        assert!(found <= self.model.entries.len());
        self.model.truncate(found);
        self.model.durable = found;
        // What the owner trimmed by call, and no segment went for, it must trim again.
        self.log().trim(Offset::new(self.model.log_start));
        if let Some(committed) = self.model.committed {
            self.log().set_committed(Index::new(committed as u64));
        }
    }

    fn first(&self) -> usize {
        self.log().first_index().get() as usize
    }

    fn check(&self) {
        let (log, model) = (self.log(), &self.model);
        assert_eq!(log.next_offset().get(), model.next_offset());
        assert_eq!(log.last_log_id(), model.entries.last().map(|entry| entry.log_id));
        let first = self.first();
        assert!(first <= model.committed.map_or(0, |index| index + 1));
        assert_eq!(all_entries(log), model.entries[first..]);
        assert_eq!(log.log_start_offset().get(), model.log_start);
        let batches: Vec<_> = model.entries[first..]
            .iter()
            .filter(|entry| entry.kind == EntryKind::Batch && entry.next_offset().get() > model.log_start)
            .map(|entry| (entry.base_offset.get(), entry.record_count))
            .collect();
        assert_eq!(all_batches(log), batches);
        self.check_times();
        let producers = model.producers();
        let state = log.end_state();
        assert_eq!(state.producers.len(), producers.len());
        for (id, (epoch, next)) in producers {
            let check = |sequence| {
                let (epoch, sequence) = (ProducerEpoch::new(epoch), Sequence::new(sequence));
                log.check_producer(ProducerId::new(id), epoch, sequence, 1)
            };
            assert_eq!(check(next), ProducerCheck::New);
            assert_eq!(check(next + 1), ProducerCheck::OutOfOrder { expected: Sequence::new(next) });
        }
        let membership = model.entries.iter().rev().find(|entry| entry.kind == EntryKind::Membership);
        assert_eq!(state.membership.map(|m| m.log_id), membership.map(|entry| entry.log_id));
    }

    fn check_times(&self) {
        let model = &self.model;
        for place in [0, model.entries.len() / 2, model.entries.len().saturating_sub(1)] {
            let wanted = time(place as u64);
            let expected = model.entries.iter().find(|entry| {
                let kept = entry.next_offset().get() > model.log_start;
                entry.kind == EntryKind::Batch && entry.append_time >= wanted && kept
            });
            let expected = expected.map(|entry| entry.base_offset.get().max(model.log_start));
            let found = self.log().offset_at_time(wanted).unwrap();
            assert_eq!(found.map(Offset::get), expected, "at {wanted}");
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_log_does_what_a_list_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for (number, step) in steps.iter().enumerate() {
            run.take(step);
            run.world.reseed(number as u64 + 2);
            run.check();
        }
    }
}

//! openraft's own tests of a storage, those that fit this one.
//!
//! Left out are those that purge single entries or beyond the log's end (here purging deletes whole segments that are trimmed,
//! and refuses the rest), that apply entries which the log never held and then expect a snapshot of them (here the log is the
//! state), or that begin a log elsewhere than at its first entry. What they hold is held by `tests/it/group.rs` where it
//! applies.

use super::commit_clock::CommitClock;
use super::log_store::LogStore;
use super::state_machine::{Machine, NoApplier};
use super::types::Types;
use crate::committed::State;
use crate::metrics::ReplicaMetrics;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use varve_env::Env;
use varve_env::disk::FaultyDisk;
use varve_record::PartitionId;
use varve_storage::{PartitionConfig, Storage, StorageConfig};

struct Builder;

impl StoreBuilder<Types, LogStore, Machine, Storage> for Builder {
    async fn build(&self) -> Result<(Storage, LogStore, Machine), StorageError<Types>> {
        let env = Env { disk: Arc::new(FaultyDisk::new(1)), ..Env::real() };
        let storage = Storage::open(&env, Path::new("/data"), StorageConfig::default()).unwrap();
        let id = PartitionId::new(1);
        let log = storage.create_partition(id, PartitionConfig::default()).unwrap();
        let state = watch::Sender::new(State::unknown());
        let metered = Arc::new(ReplicaMetrics::new(&env.telemetry, false));
        let commits = CommitClock::new(env.telemetry.stages.clone(), metered);
        let machine = Machine::open(
            log.clone(),
            env.blocking,
            state,
            Box::new(NoApplier),
            Arc::default(),
            commits.clone(),
        )
        .unwrap();
        let store = LogStore::new(log, storage.votes().clone(), id, env.blocking, commits);
        Ok((storage, store, machine))
    }
}

type Tests = Suite<Types, LogStore, Machine, Builder, Storage>;

async fn run<F>(test: impl Fn(LogStore, Machine) -> F)
where
    F: Future<Output = io::Result<()>>,
{
    let (_storage, store, machine) = Builder.build().await.unwrap();
    test(store, machine).await.unwrap();
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                run(Tests::$name).await;
            }
        )*
    };
}

tests! {
    last_membership_in_log_initial
    get_membership_initial
    get_membership_from_empty_log_and_sm
    get_initial_state_without_init
    get_initial_state_with_state
    get_initial_state_last_log_gt_sm
    save_vote
    get_log_entries
    limited_get_log_entries
    leader_bounded_stream
    entries_stream
    log_reader_reads_new_entries
    initial_logs
    last_id_in_log
    last_applied_state
    delete_logs_after_11
    delete_logs_after_5
    delete_logs_after_0
    delete_logs_after_none
    snapshot_meta_optional
    apply_single
    apply_multiple
}

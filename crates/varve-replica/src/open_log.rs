//! A replica's log, opened or made.

use crate::OpenReplicaError;
use varve_env::Env;
use varve_record::PartitionId;
use varve_storage::{OpenError, PartitionConfig, PartitionLog, Storage};

/// Opens the log, or makes it where the replica is new.
pub(crate) async fn open_log(
    env: &Env,
    storage: &Storage,
    id: PartitionId,
    config: PartitionConfig,
) -> Result<PartitionLog, OpenReplicaError> {
    let storage = storage.clone();
    env.blocking
        .run(move || match storage.open_partition(id, config.clone()) {
            // A vote is saved only where there is a log; and it stays where that was given up on purpose.
            Err(OpenError::NoSuchPartition { .. })
                if storage.votes().get(id).is_some() && !storage.has_left(id)? =>
            {
                Err(OpenReplicaError::Lost { id })
            }
            Err(OpenError::NoSuchPartition { .. }) => Ok(storage.create_partition(id, config)?),
            opened => Ok(opened?),
        })
        .await
}

//! A data directory.

use crate::{OpenError, PartitionConfig, PartitionLog, StopReason, StorageConfig, VoteStore};
use bytes::Bytes;
use std::path::Path;
use varve_env::Env;
use varve_record::{PartitionId, Timestamp};

/// A data directory, locked for as long as any clone of this lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage;

impl Storage {
    /// Opens a data directory, or makes one. Blocks.
    ///
    /// # Errors
    /// Where another process has it, a file that decides is damaged, or the system refuses.
    pub fn open(_env: &Env, _dir: &Path, _config: StorageConfig) -> Result<Self, OpenError> {
        Err(OpenError::Stopped(StopReason::Closed))
    }

    /// The node's identity, as given to [`Storage::set_node_file`]; `None` before the first.
    #[must_use]
    pub fn node_file(&self) -> Option<Bytes> {
        None
    }

    /// Makes the node's identity durable. Blocks.
    ///
    /// # Errors
    /// Where the system refuses; the old identity then stands.
    pub fn set_node_file(&self, _identity: Bytes) -> Result<(), OpenError> {
        Err(OpenError::Stopped(StopReason::Closed))
    }

    /// The partitions in the directory, open or not. Blocks.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn partition_ids(&self) -> Result<Vec<PartitionId>, OpenError> {
        Ok(Vec::new())
    }

    /// Makes an empty partition, durably, and opens it. Blocks.
    ///
    /// # Errors
    /// Where it exists, a setting is out of range, or the system refuses.
    pub fn create_partition(
        &self,
        _id: PartitionId,
        _config: PartitionConfig,
    ) -> Result<PartitionLog, OpenError> {
        Err(OpenError::Stopped(StopReason::Closed))
    }

    /// Opens a partition and recovers its log. Blocks. One that is damaged opens too: see [`PartitionLog::damage`].
    ///
    /// # Errors
    /// Where it does not exist, is open already, was written by a newer version, or the system refuses.
    pub fn open_partition(
        &self,
        id: PartitionId,
        _config: PartitionConfig,
    ) -> Result<PartitionLog, OpenError> {
        Err(OpenError::NoSuchPartition { id })
    }

    /// Removes a partition, durably; handles to it are stopped. Blocks.
    ///
    /// # Errors
    /// Where it does not exist or the system refuses.
    pub fn remove_partition(&self, id: PartitionId) -> Result<(), OpenError> {
        Err(OpenError::NoSuchPartition { id })
    }

    /// The durable votes of all groups.
    #[must_use]
    pub fn votes(&self) -> &VoteStore {
        &VoteStore
    }

    /// Does what time asks for: idle markers, cache shrinking, a look at the free space, another try for a full disk. Call it
    /// about every 250 ms; it does not block.
    pub fn tick(&self, _now: Timestamp) {}

    /// Why this storage takes no more writes; `None` while it does.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        None
    }

    /// Calls `hook` once, when a write or a sync has failed and a log has stopped (at once if that was so already). The owner
    /// should end the process: only a new start finds out what the disk holds.
    pub fn on_stopped(&self, _hook: Box<dyn FnOnce(StopReason) + Send>) {}

    /// A clean stop: writes and syncs all that is queued, and leaves what makes the next start fast. Every handle is stopped
    /// afterwards. Blocks.
    ///
    /// # Errors
    /// Where something could not be written; the next start then recovers as after a crash.
    pub fn close(&self) -> Result<(), OpenError> {
        Ok(())
    }
}

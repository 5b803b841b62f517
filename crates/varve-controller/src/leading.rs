//! What a leader says of its partition.

use crate::number;
use serde::{Deserialize, Serialize};
use varve_record::{PartitionId, Term};

/// A partition that the reporting node leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leading {
    /// The partition.
    #[serde(with = "number")]
    pub partition: PartitionId,
    /// The term that it leads in.
    #[serde(with = "number")]
    pub term: Term,
    /// The [`generation`](crate::Placement::generation) whose replicas are the group's members, by a committed and uniform
    /// (not joint) configuration without learners; absent where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<u64>,
}

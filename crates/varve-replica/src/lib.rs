//! A partition's replica: what is proposed to it, what it has committed, and reading that.
//!
//! The write path is `proposer → consensus → log → applied`. A proposer alone decides what enters the log of a partition:
//! conditions, duplicates and append time, against the state at the log's end. A node [joins](Partition::join) a
//! partition as one replica of its group, if only as the sole one, and consensus says what is committed. A [`CommandLog`] is the
//! same for a state machine instead of records. Members of groups reach each other through a [`PeerNetwork`]: in memory, or over
//! sockets.
//!
//! It must never know gRPC, gossip or policy. Start reading at [`Partition`], then `raft::proposer`, then the rest of `raft`.

mod command_log;
mod committed;
mod error;
mod judge;
mod laggard;
mod lead;
mod members;
mod metrics;
mod open_log;
mod partition;
mod produce;
mod progress;
mod proposal;
mod raft;
mod read;
mod retention;
mod settings;
mod status;

pub use command_log::{CommandError, CommandLog, StateMachine};
pub use error::{GroupError, OpenReplicaError, ProduceError, ReadError};
pub use laggard::Laggard;
pub use members::{FollowerState, GroupMembers};
pub use partition::{Follower, Partition};
pub use produce::{Acks, Pending, Produce, Produced};
pub use progress::Progress;
pub use raft::{
    GroupSettings, GroupTiming, MemoryNetwork, PeerError, PeerNetwork, PeerRequest, PeerResponse,
    PeerTraffic, Peers, WireNetwork,
};
pub use read::{Consistency, ReadBatches, Start};
pub use settings::{
    COMMAND_BYTES_MAX, COMMAND_STATE_BYTES_MAX, CommandLogSettings, IN_FLIGHT_BYTES_MAX, PROPOSALS_MAX,
    PartitionSettings,
};
pub use status::PartitionStatus;

/// For the fuzz targets alone.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing {
    pub use crate::raft::fuzzing::peer_messages;
}

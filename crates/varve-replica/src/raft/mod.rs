//! Consensus: openraft over a partition's log.
//!
//! Start reading at [`group`], which starts a replica; then `log_store` and `state_machine` (what consensus asks of us),
//! `proposer` (what we ask of consensus), and `peer` with `link` (what members say to each other). `docs/raft.md` says what is
//! relied on.

mod answer;
mod beats;
mod changes;
mod command_applier;
mod command_proposer;
mod command_snapshot;
mod commit_clock;
mod flights;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod group;
mod hearing;
mod heartbeats;
mod hold_back;
mod leadership;
mod link;
mod log_entry;
mod log_store;
mod membership;
mod memory_network;
mod peer;
mod peers;
mod proposal;
mod proposer;
mod returning;
mod settings;
mod silence;
mod state_machine;
mod steady;
#[cfg(test)]
mod suite;
mod types;
mod wire;
mod wire_network;

pub(crate) use command_applier::{CommandApplier, Responses};
pub(crate) use group::Group;
pub(crate) use proposer::GroupProposer;
pub(crate) use state_machine::{NoApplier, last_known};

pub use memory_network::MemoryNetwork;
pub use peer::{PeerError, PeerNetwork, PeerRequest, PeerResponse, PeerTraffic};
pub use peers::Peers;
pub use settings::{GroupSettings, GroupTiming};
pub use wire_network::WireNetwork;

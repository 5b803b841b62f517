//! Who is there: the members of a cluster, by encrypted gossip.
//!
//! [`Gossip`] takes part in the gossip of serf (al8n's crate) and shows what it knows as [`Membership`]: each member's name,
//! address, tags and status. All of it is a hint. A change is a reason to look again; who votes and who leads is for consensus
//! to say. [`MemoryMembership`] is the double for simulation and tests.
//!
//! Gossip is always encrypted, with a key that all members share ([`GossipKeyRing`]). It has a port of its own, TCP and UDP on
//! one number, and opens its sockets itself, with tokio. Its TCP side is guarded against what strangers may send, so that
//! nothing unbounded happens before a message is authenticated.
//!
//! This crate must never know what members are for: no tag has a meaning here. Start reading at [`Membership`], then
//! [`Gossip`], then `settings` for why serf is set as it is.

mod config;
mod conflict;
mod foreign;
mod gossip;
mod guard;
mod joiner;
mod key;
mod member;
mod membership;
mod memory;
#[cfg(any(test, feature = "fuzzing"))]
mod messages_fuzzing;
mod roster;
mod rotation;
mod settings;
mod tags;

pub use config::{GossipConfig, GossipTiming, JOIN_ADDRS_MAX, NAME_BYTES_MAX};
pub use gossip::{Gossip, PORT_TRIES_MAX, StartError};
pub use key::{GossipKey, GossipKeyError, GossipKeyRing, KEYS_MAX};
pub use member::{Member, MemberStatus};
pub use membership::{Membership, SetTagsError, addrs_to_keep};
pub use memory::{MemoryMembership, MemoryNetwork};
pub use tags::{TAG_OVERHEAD_BYTES, TAGS_BYTES_MAX, Tags, TagsError};

/// For the fuzz targets alone.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing {
    pub use crate::messages_fuzzing::gossip_messages;
}

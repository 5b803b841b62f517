//! The node among others: who is there, how it comes to belong to a cluster, and what keeps the cluster as it should be.
//!
//! - `presence`: who is there, by gossip. A hint: it wakes and informs, and decides nothing by itself.
//! - `address_book`: where each node is reached; `view`: the cluster as this node knows it.
//! - `join`: how a node without a place gets one.
//! - `keeper`: what the controller's leader does for the cluster; `shepherd`: what a partition's leader does for its group.
//! - `forward`: calls handed on to the node that can serve them.

mod address_book;
mod forward;
mod join;
mod keeper;
mod presence;
mod shepherd;
mod view;

pub(crate) use address_book::{AddressBook, changed};
pub(crate) use forward::{Forwarder, may_forward, unforwarded, unforwarded_for};
pub(crate) use join::{InitAsked, Place, find_place};
pub(crate) use keeper::keep;
pub(crate) use presence::Presence;
pub(crate) use shepherd::tend;
pub(crate) use view::ClusterView;

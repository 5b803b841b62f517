//! What the rest of a node sees of the cluster's membership.

use std::fmt;

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{Member, Tags};

/// Who is there, as far as the local node knows.
///
/// A hint that heals by itself: a change is a reason to look again at [`Membership::members`], never a fact to act upon twice.
pub trait Membership: Send + Sync + fmt::Debug + 'static {
    /// The local node as the others are told of it.
    fn local(&self) -> Member;

    /// All members as known now, the local one included, sorted by name. Members that left or failed stay for a day.
    fn members(&self) -> Vec<Member>;

    /// A version that rises whenever [`Membership::members`] changes. Changes that come together may be one step.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Replaces the local node's tags, and waits until they are under way to some other member (two seconds at most).
    ///
    /// # Errors
    ///
    /// The node has left or is shut down.
    fn set_tags(&self, tags: Tags) -> BoxFuture<'_, Result<(), SetTagsError>>;

    /// Looks at once whether the key file holds other keys, as it does every few seconds.
    fn reload_keys(&self) {}

    /// Leaves for good: the others forget the member instead of waiting for its return. Only for a node that is
    /// decommissioned; one that stops calls [`Membership::shutdown`] alone. Takes a few seconds at most. What cannot be told
    /// to the others in that time they find out as a failure.
    fn leave(&self) -> BoxFuture<'_, ()>;

    /// Stops without a word: the others see a failure. Frees the port. Bounded; further calls do nothing.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// Tags could not be set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetTagsError {
    /// The node no longer takes part.
    #[error("gossip has stopped: the tags of this node can no longer be set")]
    Stopped,
}

/// Where the other members were last reached, for a caller to keep across restarts: with these as
/// [`known_addrs`](crate::GossipConfig::known_addrs), a node finds its cluster again without its seed node.
///
/// Members that left are not worth keeping. At most [`JOIN_ADDRS_MAX`](crate::JOIN_ADDRS_MAX), those alive first.
pub fn addrs_to_keep(membership: &dyn Membership) -> Vec<String> {
    use crate::MemberStatus::{Alive, Failed, Leaving, Left};
    let local = membership.local().name;
    let mut others = membership.members();
    others.retain(|member| member.name != local && member.status != Left);
    others.sort_by_key(|member| match member.status {
        Alive => 0,
        Failed => 1,
        Leaving | Left => 2,
    });
    others.truncate(crate::JOIN_ADDRS_MAX);
    others.iter().map(|member| member.gossip_addr.to_string()).collect()
}

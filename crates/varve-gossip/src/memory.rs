//! Membership in memory: the double for simulation and for the tests of what stands above.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{Member, MemberStatus, Membership, SetTagsError, Tags};

/// Members of one process that know of each other at once, with no sockets, no time and no chance.
///
/// A test lets members fail, come back, and lose sight of each other. What a member cannot see it does not learn: its tags stay
/// as last seen, and a name that it never saw is not there.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    nodes: Arc<Mutex<BTreeMap<String, Node>>>,
}

#[derive(Debug)]
struct Node {
    /// What this node says of itself.
    member: Member,
    /// Whether it runs.
    up: bool,
    /// Only nodes of one group see each other.
    group: usize,
    /// What it knows of all.
    view: BTreeMap<String, Member>,
    version: watch::Sender<u64>,
}

impl MemoryNetwork {
    /// A network with no members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member, or starts one that stopped anew, perhaps at another address. It is seen by all at once.
    pub fn join(&self, name: impl Into<String>, gossip_addr: SocketAddr, tags: Tags) -> MemoryMembership {
        let name = name.into();
        let member = Member { name: name.clone(), gossip_addr, tags, status: MemberStatus::Alive };
        let mut nodes = self.lock();
        let group = nodes.get(&name).map_or(0, |node| node.group);
        let view = BTreeMap::from([(name.clone(), member.clone())]);
        let node = Node { member, up: true, group, view, version: watch::Sender::new(0) };
        nodes.insert(name.clone(), node);
        spread(&mut nodes);
        MemoryMembership { name, network: self.clone() }
    }

    /// Lets a member fail: the others see it as failed, and it learns nothing more.
    pub fn fail(&self, name: &str) {
        self.change(name, |node| node.up = false);
    }

    /// Lets a failed member come back as it was.
    pub fn revive(&self, name: &str) {
        self.change(name, |node| node.up = true);
    }

    /// Cuts these members off from all others; among themselves they stay in touch. Parts that were cut off before stay apart.
    pub fn partition(&self, names: &[&str]) {
        let names: BTreeSet<_> = names.iter().copied().collect();
        let mut nodes = self.lock();
        let group = nodes.values().map(|node| node.group).max().unwrap_or(0) + 1;
        let cut_off = nodes.iter_mut().filter(|(name, _)| names.contains(name.as_str()));
        cut_off.for_each(|(_, node)| node.group = group);
        spread(&mut nodes);
    }

    /// Lets all members see each other again.
    pub fn heal(&self) {
        let mut nodes = self.lock();
        nodes.values_mut().for_each(|node| node.group = 0);
        spread(&mut nodes);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Node)) {
        let mut nodes = self.lock();
        if let Some(node) = nodes.get_mut(name) {
            change(node);
        }
        spread(&mut nodes);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One member of a [`MemoryNetwork`], and what it sees. Clones are the same member.
#[derive(Clone, Debug)]
pub struct MemoryMembership {
    name: String,
    network: MemoryNetwork,
}

impl MemoryMembership {
    fn with_node<T>(&self, ask: impl FnOnce(&mut Node) -> T) -> T {
        let mut nodes = self.network.lock();
        ask(nodes.get_mut(&self.name).expect("a member is never taken out of its network"))
    }
}

impl Membership for MemoryMembership {
    fn local(&self) -> Member {
        self.with_node(|node| node.member.clone())
    }

    fn members(&self) -> Vec<Member> {
        self.with_node(|node| node.view.values().cloned().collect())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.with_node(|node| node.version.subscribe())
    }

    fn set_tags(&self, tags: Tags) -> BoxFuture<'_, Result<(), SetTagsError>> {
        async move {
            let taking_part = self.with_node(|node| node.up && node.member.is_alive());
            if !taking_part {
                return Err(SetTagsError::Stopped);
            }
            self.network.change(&self.name, |node| node.member.tags = tags);
            Ok(())
        }
        .boxed()
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        async move { self.network.change(&self.name, |node| node.member.status = MemberStatus::Left) }.boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        async move { self.network.fail(&self.name) }.boxed()
    }
}

/// Brings what each running node knows up to date with all that it can see.
fn spread(nodes: &mut BTreeMap<String, Node>) {
    let truths: Vec<_> = nodes.values().map(|node| (node.member.clone(), node.up, node.group)).collect();
    for (name, node) in nodes.iter_mut().filter(|(_, node)| node.up) {
        let mut view = node.view.clone();
        for (member, up, group) in &truths {
            if member.name == *name || (*up && *group == node.group) {
                view.insert(member.name.clone(), member.clone());
            } else if let Some(last_seen) = view.get_mut(&member.name).filter(|seen| seen.is_alive()) {
                last_seen.status = MemberStatus::Failed;
            }
        }
        if view != node.view {
            node.view = view;
            node.version.send_modify(|version| *version += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn three() -> (MemoryNetwork, [MemoryMembership; 3]) {
        let network = MemoryNetwork::new();
        let join = |name: &str| network.join(name, "10.0.0.1:8401".parse().unwrap(), Tags::new());
        let nodes = [join("a"), join("b"), join("c")];
        (network, nodes)
    }

    fn seen(by: &MemoryMembership) -> String {
        let members = by.members();
        members
            .iter()
            .map(|member| format!("{} {}", member.name, member.status))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn members_see_each_other_fail_and_return() {
        let (network, [a, b, c]) = three();
        assert_eq!(seen(&a), "a alive, b alive, c alive");
        let changes = a.changes();
        network.fail("c");
        assert_eq!(seen(&a), "a alive, b alive, c failed");
        assert!(changes.has_changed().unwrap());
        assert_eq!(seen(&c), "a alive, b alive, c alive", "a node that is down learns nothing");
        network.fail("b");
        network.revive("c");
        assert_eq!(seen(&c), "a alive, b failed, c alive");
        assert_eq!(block_on(b.set_tags(Tags::new())), Err(SetTagsError::Stopped));
    }

    #[test]
    fn what_cannot_be_seen_is_not_learnt() {
        let (network, [a, b, _c]) = three();
        network.partition(&["b"]);
        assert_eq!(seen(&a), "a alive, b failed, c alive");
        assert_eq!(seen(&b), "a failed, b alive, c failed");
        let tags = Tags::try_from([("rack", "r1")]).unwrap();
        block_on(b.set_tags(tags.clone())).unwrap();
        assert_eq!(a.members()[1].tags, Tags::new());
        assert_eq!(b.local().tags, tags);
        network.heal();
        assert_eq!(seen(&a), "a alive, b alive, c alive");
        assert_eq!(a.members()[1].tags, tags);
    }

    #[test]
    fn leaving_is_not_failing_and_a_name_may_return_elsewhere() {
        let (network, [a, b, c]) = three();
        block_on(b.leave());
        block_on(b.shutdown());
        block_on(c.shutdown());
        assert_eq!(seen(&a), "a alive, b left, c failed");
        let again = network.join("c", "10.0.0.9:8401".parse().unwrap(), Tags::new());
        assert_eq!(seen(&a), "a alive, b left, c alive");
        assert_eq!(a.members()[2].gossip_addr, "10.0.0.9:8401".parse().unwrap());
        assert_eq!(seen(&again), "a alive, c alive", "who left before is not there for a newcomer");
    }

    #[test]
    fn nothing_changes_without_a_change() {
        let (network, [a, ..]) = three();
        let changes = a.changes();
        network.heal();
        network.revive("b");
        assert!(!changes.has_changed().unwrap());
    }
}

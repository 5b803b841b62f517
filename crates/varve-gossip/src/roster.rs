//! The members as last seen, for who asks without waiting.

use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::Member;

/// The members as last seen, and a version of them.
#[derive(Debug)]
pub(crate) struct Roster {
    members: RwLock<Vec<Member>>,
    version: watch::Sender<u64>,
    /// One look at a time, so that an older one never comes after a newer.
    looking: tokio::sync::Mutex<()>,
}

impl Roster {
    /// A roster with nobody on it.
    pub(crate) fn new() -> Self {
        Self {
            members: RwLock::new(Vec::new()),
            version: watch::Sender::new(0),
            looking: tokio::sync::Mutex::new(()),
        }
    }

    /// All members, by name.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One member.
    pub(crate) fn member(&self, name: &str) -> Option<Member> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.binary_search_by(|member| member.name.as_str().cmp(name)).ok().map(|at| members[at].clone())
    }

    /// Follows the version.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Looks who is there, and takes it over. The version rises only if that differs.
    pub(crate) async fn look(&self, who: impl Future<Output = Vec<Member>>) {
        let _one_at_a_time = self.looking.lock().await;
        let mut seen = who.await;
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        self.update(seen);
    }

    fn update(&self, seen: Vec<Member>) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if *members == seen {
            return;
        }
        log_differences(&members, &seen);
        *members = seen;
        drop(members);
        self.version.send_modify(|version| *version += 1);
    }
}

fn log_differences(before: &[Member], now: &[Member]) {
    for member in now {
        let old = before.iter().find(|old| old.name == member.name);
        if old.is_none_or(|old| old.status != member.status || old.gossip_addr != member.gossip_addr) {
            let Member { name, gossip_addr, status, .. } = member;
            tracing::info!(%name, %gossip_addr, %status, "gossip: a member changed");
        }
    }
    for member in before.iter().filter(|old| now.iter().all(|member| member.name != old.name)) {
        tracing::info!(name = %member.name, "gossip: a member that was long gone is forgotten");
    }
}

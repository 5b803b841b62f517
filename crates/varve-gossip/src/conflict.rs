//! Two nodes under one name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serf::delegate::MergeDelegate;
use serf::types::{MemberStatus, SmolStr};
use tokio::sync::watch;

/// Notices that the others know the local name at another address.
///
/// That is so for a few seconds after a quick restart elsewhere, until the others have given the earlier run up; and for as
/// long as another node lives under the same name. The others keep to whom they knew first, so nobody else is disturbed.
#[derive(Debug)]
pub(crate) struct NameWatch {
    name: SmolStr,
    /// Known once the node has started.
    local_addr: Mutex<Option<SocketAddr>>,
    held_at: Mutex<Option<SocketAddr>>,
    /// Where another live node of the name is, once that is beyond doubt.
    confirmed: watch::Sender<Option<SocketAddr>>,
}

impl NameWatch {
    pub(crate) fn new(name: SmolStr) -> Self {
        Self {
            name,
            local_addr: Mutex::new(None),
            held_at: Mutex::new(None),
            confirmed: watch::Sender::new(None),
        }
    }

    /// Tells the watch which address is the node's own.
    pub(crate) fn started_at(&self, addr: SocketAddr) {
        *self.local_addr.lock().unwrap_or_else(PoisonError::into_inner) = Some(addr);
    }

    /// Where the name was seen since it was last asked, if not here.
    pub(crate) fn take_conflict(&self) -> Option<SocketAddr> {
        self.held_at.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says where another live node of the name is, or that there is none any more.
    pub(crate) fn confirm(&self, held_at: Option<SocketAddr>) {
        self.confirmed.send_if_modified(|confirmed| std::mem::replace(confirmed, held_at) != held_at);
    }

    pub(crate) fn confirmed(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.confirmed.subscribe()
    }

    fn saw(&self, addr: SocketAddr) {
        let local = *self.local_addr.lock().unwrap_or_else(PoisonError::into_inner);
        if local.is_some_and(|local| local != addr) {
            *self.held_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(addr);
        }
    }
}

/// Is told of each member that others report alive, and of all that a peer knows when the two join.
#[derive(Clone, Debug)]
pub(crate) struct NameWatchDelegate(pub(crate) Arc<NameWatch>);

impl MergeDelegate for NameWatchDelegate {
    type Error = Infallible;
    type Id = SmolStr;
    type Address = SocketAddr;

    async fn notify_merge(
        &self,
        members: Arc<[serf::types::Member<SmolStr, SocketAddr>]>,
    ) -> Result<(), Infallible> {
        let own = members.iter().find(|member| *member.node().id() == self.0.name);
        if let Some(own) = own.filter(|own| *own.status() != MemberStatus::Left) {
            self.0.saw(*own.node().address());
        }
        Ok(())
    }
}

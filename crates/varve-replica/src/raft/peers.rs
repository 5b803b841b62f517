//! The groups of a node, and the way to those of other nodes.

use super::group::Group;
use super::peer::{PeerError, PeerNetwork, PeerRequest, PeerResponse, PeerTraffic};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use varve_record::{NodeId, PartitionId};

/// How long a group may take to answer. Who asked has given up before; what is not answered takes up room on a connection that
/// other groups use too, and one whose disk is full answers nothing until there is room.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(6);
const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(60);

/// What a node's groups share: who the node is, how others are reached, and where what others ask is answered. Cheap to clone.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    node: NodeId,
    network: Arc<dyn PeerNetwork>,
    groups: RwLock<BTreeMap<PartitionId, Weak<Group>>>,
}

impl Peers {
    /// A node without groups.
    #[must_use]
    pub fn new(node: NodeId, network: Arc<dyn PeerNetwork>) -> Self {
        Self(Arc::new(Inner { node, network, groups: RwLock::default() }))
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Answers another node's request. Whoever calls this knows by itself who asks, and that the asker may.
    ///
    /// # Errors
    /// Where there is no such group here, or it has stopped.
    pub async fn answer(&self, group: PartitionId, request: PeerRequest) -> Result<PeerResponse, PeerError> {
        let found = self.0.groups.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned();
        let found = found.and_then(|group| group.upgrade());
        let found = found.ok_or(PeerError::NoSuchGroup { partition: group })?;
        let limit = match request.traffic() {
            PeerTraffic::Snapshot => SNAPSHOT_TIME_MAX,
            PeerTraffic::Control | PeerTraffic::Data => ANSWER_TIME_MAX,
        };
        let late = |_| {
            let reason = format!("no answer within {} ms", limit.as_millis());
            Err(PeerError::Stopped { partition: group, reason })
        };
        tokio::time::timeout(limit, found.answer(request)).await.unwrap_or_else(late)
    }

    pub(crate) fn network(&self) -> &Arc<dyn PeerNetwork> {
        &self.0.network
    }

    pub(crate) fn add(&self, id: PartitionId, group: &Arc<Group>) {
        let mut groups = self.0.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| group.strong_count() > 0);
        groups.insert(id, Arc::downgrade(group));
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("node", &self.0.node).finish_non_exhaustive()
    }
}

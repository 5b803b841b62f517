//! The groups of a node, and the way to those of other nodes.

use super::beats::Beats;
use super::group::Group;
use super::heartbeats::Heartbeats;
use super::peer::{PeerError, PeerNetwork, PeerRequest, PeerResponse, PeerTraffic, Request, Response};
use super::settings::GroupTiming;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::watch;
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
    beats: Arc<Beats>,
    heartbeats: Heartbeats,
    /// Counts the changes of leaders in all groups.
    leaderships: watch::Sender<u64>,
}

impl Peers {
    /// A node without groups.
    #[must_use]
    pub fn new(node: NodeId, network: Arc<dyn PeerNetwork>) -> Self {
        let (groups, beats, heartbeats) = (RwLock::default(), Arc::default(), Heartbeats::default());
        let leaderships = watch::Sender::new(0);
        Self(Arc::new(Inner { node, network, groups, beats, heartbeats, leaderships }))
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Follows that another leads, or nobody, in any of this node's groups.
    #[must_use]
    pub fn follow_leaderships(&self) -> watch::Receiver<u64> {
        self.0.leaderships.subscribe()
    }

    pub(super) fn note_leadership(&self) {
        self.0.leaderships.send_modify(|count| *count += 1);
    }

    /// Answers another node's request. Whoever calls this knows by itself who asks, and that the asker may.
    ///
    /// # Errors
    /// Where there is no such group here, or it has stopped.
    pub async fn answer(&self, group: PartitionId, request: PeerRequest) -> Result<PeerResponse, PeerError> {
        let request = match request.request {
            Request::Heartbeats(heartbeats) => {
                let answers = self.answer_heartbeats(heartbeats).await;
                return Ok(PeerResponse(Response::Heartbeats(answers)));
            }
            request => PeerRequest::new(request),
        };
        let found = self.group(group).ok_or(PeerError::NoSuchGroup { partition: group })?;
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

    /// This node's replica of a group.
    pub(super) fn group(&self, id: PartitionId) -> Option<Arc<Group>> {
        self.0.groups.read().unwrap_or_else(PoisonError::into_inner).get(&id)?.upgrade()
    }

    pub(super) fn heartbeats(&self) -> &Heartbeats {
        &self.0.heartbeats
    }

    pub(crate) fn network(&self) -> &Arc<dyn PeerNetwork> {
        &self.0.network
    }

    /// Has a group answer others, and beat.
    pub(super) fn add(&self, id: PartitionId, group: &Arc<Group>, timing: GroupTiming) {
        {
            let mut groups = self.0.groups.write().unwrap_or_else(PoisonError::into_inner);
            groups.insert(id, Arc::downgrade(group));
        }
        self.0.beats.add(id, group, timing);
    }

    /// Forgets a group that is gone, unless another has come in its place.
    pub(super) fn forget(&self, id: PartitionId) {
        let mut groups = self.0.groups.write().unwrap_or_else(PoisonError::into_inner);
        if groups.get(&id).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&id);
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("node", &self.0.node).finish_non_exhaustive()
    }
}

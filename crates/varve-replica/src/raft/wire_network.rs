//! Members of groups on other nodes, over framed connections.

use super::peer::{PeerError, PeerNetwork, PeerRequest, PeerResponse, PeerTraffic};
use super::peers::Peers;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use varve_net::{Payload, PeerClient, PeerHandler, PeerLane};
use varve_record::{NodeId, PartitionId};

/// Reaches other nodes' replicas through a [`PeerClient`].
#[derive(Clone, Debug)]
pub struct WireNetwork(PeerClient);

impl WireNetwork {
    /// Over this client's connections.
    #[must_use]
    pub fn new(client: PeerClient) -> Self {
        Self(client)
    }
}

impl PeerNetwork for WireNetwork {
    fn call(
        &self,
        to: NodeId,
        group: PartitionId,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerResponse, PeerError>> {
        let client = self.0.clone();
        async move {
            let payload = Payload::new(request.encode(group));
            let lane = lane(request.traffic());
            match client.call(to.get(), lane, payload).await {
                Ok(answer) => PeerResponse::decode(to, answer),
                Err(error) => {
                    let reason = error.reason.as_ref().to_owned();
                    Err(if error.may_have_arrived {
                        PeerError::Unreachable { node: to, reason }
                    } else {
                        PeerError::NotSent { node: to, reason }
                    })
                }
            }
        }
        .boxed()
    }
}

impl PeerHandler for Peers {
    fn answer(&self, from: u64, lane: PeerLane, request: Bytes) -> BoxFuture<'static, Payload> {
        let peers = self.clone();
        async move {
            let answer = match PeerRequest::decode(request) {
                Some((group, request)) => Self::answer(&peers, group, request).await,
                None => {
                    tracing::warn!(from, ?lane, "a peer's request is malformed: is it of another version?");
                    let reason = "the request is malformed".to_owned();
                    Err(PeerError::Unreachable { node: peers.node(), reason })
                }
            };
            PeerResponse::encode(&answer).into()
        }
        .boxed()
    }
}

fn lane(traffic: PeerTraffic) -> PeerLane {
    match traffic {
        PeerTraffic::Control => PeerLane::Control,
        PeerTraffic::Data => PeerLane::Data,
        PeerTraffic::Snapshot => PeerLane::Snapshot,
    }
}

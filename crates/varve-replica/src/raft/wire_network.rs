//! Members of groups on other nodes, over framed connections.

use super::peer::{PeerError, PeerNetwork, PeerRequest, PeerResponse, PeerTraffic};
use super::peers::Peers;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Instant;
use varve_net::{Payload, PeerClient, PeerHandler, PeerLane};
use varve_record::{NodeId, PartitionId};
use varve_telemetry::{Histogram, KeyValue, Telemetry, catalogue};

/// Reaches other nodes' replicas through a [`PeerClient`].
#[derive(Clone, Debug)]
pub struct WireNetwork {
    client: PeerClient,
    round_trip: Histogram<f64>,
}

impl WireNetwork {
    /// Over this client's connections. How long small messages take is told to `telemetry`.
    #[must_use]
    pub fn new(client: PeerClient, telemetry: &Telemetry) -> Self {
        Self { client, round_trip: telemetry.histogram(&catalogue::PEER_ROUND_TRIP) }
    }
}

impl PeerNetwork for WireNetwork {
    fn call(
        &self,
        to: NodeId,
        group: PartitionId,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerResponse, PeerError>> {
        let Self { client, round_trip } = self.clone();
        async move {
            let payload = Payload::new(request.encode(group));
            let lane = lane(request.traffic());
            let since = Instant::now();
            match client.call(to.get(), lane, payload).await {
                Ok(answer) => {
                    // The others wait for a disk.
                    if lane == PeerLane::Control {
                        let peer = i64::try_from(to.get()).unwrap_or(i64::MAX);
                        round_trip.record(since.elapsed().as_secs_f64(), &[KeyValue::new("peer", peer)]);
                    }
                    PeerResponse::decode(to, answer)
                }
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

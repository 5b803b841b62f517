//! Which node serves a call about a partition.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status};
use varve_api::error::{ApiError, Reason, meta};
use varve_record::{NodeId, PartitionId};
use varve_replica::Partition;

use super::Shared;
use crate::error::{open_error, read_error};
use crate::limits::LEADER_TIMEOUT;
use crate::topics::{Slot, Topic};

/// The pause before a leader is looked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked whether a partition is led by another node than the one that owes an answer.
const MOVED_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a read waits for the replica here to know what is committed before it goes to the leader.
const RECOVERY_TIMEOUT: Duration = Duration::from_millis(500);

/// Where a call about a partition is served.
#[derive(Debug)]
pub(crate) enum Route {
    Here(Partition),
    There(Away),
}

/// Where a read was served, or is to be.
#[derive(Debug)]
pub(crate) enum Read<T> {
    /// It is for this node.
    Here(Partition),
    /// Another node has answered.
    There(T),
}

/// Another node.
#[derive(Clone, Debug)]
pub(crate) struct Away {
    pub(crate) node: NodeId,
    pub(crate) addr: String,
}

/// What a call allows, and how long it has been on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    /// Whether the call may be handed on.
    pub(crate) forward: bool,
    until: Instant,
}

impl Errand {
    pub(crate) fn new(forward: bool) -> Self {
        Self { forward, until: Instant::now() + LEADER_TIMEOUT }
    }

    /// The same, for one that waits for no leader: another has waited for this one.
    pub(crate) fn that_has_waited(self) -> Self {
        Self { until: Instant::now(), ..self }
    }

    /// Waits a moment before another try, where the call had no effect so far and there is time left.
    pub(crate) async fn again(&self, error: ApiError) -> Result<(), ApiError> {
        let elsewhere = matches!(
            error.reason,
            Reason::NotLeader
                | Reason::NoLeader
                | Reason::Unreachable
                | Reason::ShuttingDown
                | Reason::NotInitialized
        );
        if !self.forward || !elsewhere || Instant::now() >= self.until {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

impl Shared {
    /// To the leader of a partition. A call that may be handed on waits until there is one.
    pub(crate) async fn to_leader(
        &self,
        topic: &Topic,
        number: u32,
        errand: Errand,
    ) -> Result<Route, ApiError> {
        loop {
            match self.leader_now(topic, number)? {
                Some(Route::There(away)) if !errand.forward => return Err(not_leader(topic, number, &away)),
                Some(route) => return Ok(route),
                None => errand.again(no_leader(topic, number)).await?,
            }
        }
    }

    /// To a replica of a partition that can be read from: this node, if it has one. Another is asked by `ask`, and the next where
    /// that one has gone meanwhile.
    pub(crate) async fn read<T, F>(
        &self,
        topic: &Topic,
        number: u32,
        forward: bool,
        ask: impl Fn(Away) -> F,
    ) -> Result<Read<T>, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let errand = Errand::new(forward);
        loop {
            match self.to_reader(topic, number, errand).await? {
                Route::Here(partition) => return Ok(Read::Here(partition)),
                Route::There(away) => match ask(away).await {
                    Ok(answer) => return Ok(Read::There(answer)),
                    Err(error) => errand.again(error).await?,
                },
            }
        }
    }

    /// Where a partition can be read.
    async fn to_reader(&self, topic: &Topic, number: u32, errand: Errand) -> Result<Route, ApiError> {
        let here = match topic.slot(number)?.1 {
            Slot::Open(partition) if !errand.forward || partition.status().damage.is_none() => partition,
            _ if !errand.forward => return self.to_leader(topic, number, errand).await,
            _ => {
                // Whoever has a copy can be read from, though nobody leads at present.
                let leader = self.leader_now(topic, number)?;
                return match leader.or_else(|| self.another_reader(topic, number)) {
                    Some(route) => Ok(route),
                    None => self.to_leader(topic, number, errand).await,
                };
            }
        };
        if let Ok(Ok(())) = timeout(RECOVERY_TIMEOUT, here.recovered()).await {
            return Ok(Route::Here(here.clone()));
        }
        // It has stopped, or lacks much: others have all.
        match self.to_leader(topic, number, errand).await? {
            Route::There(away) => Ok(Route::There(away)),
            Route::Here(here) => {
                let recovered = timeout(LEADER_TIMEOUT, here.recovered()).await;
                let recovered = recovered.map_err(|_| no_leader(topic, number))?;
                recovered.map_err(|error| topic.explain(read_error(error, topic.at(number))))?;
                Ok(Route::Here(here))
            }
        }
    }

    /// Returns once a partition is known to be led by another node than this. One that stands still neither answers nor breaks
    /// its connection for as long as [`KEEPALIVE_BETWEEN_NODES`](crate::limits::KEEPALIVE_BETWEEN_NODES) says, and more.
    pub(crate) async fn moved_from(&self, place: &Place, node: NodeId) {
        loop {
            sleep(MOVED_LOOK_INTERVAL).await;
            match self.leader_now(&place.topic, place.number) {
                Ok(Some(Route::Here(partition))) if partition.progress().leader == Some(self.view.this()) => {
                    return;
                }
                Ok(Some(Route::There(away))) if away.node != node => return,
                _ => {}
            }
        }
    }

    fn leader_now(&self, topic: &Topic, number: u32) -> Result<Option<Route>, ApiError> {
        let (id, slot) = topic.slot(number)?;
        let this = self.view.this();
        let elsewhere = || {
            let leader = self.view.leader_hint(id).filter(|leader| *leader != this)?;
            self.away(leader)
        };
        Ok(match slot {
            Slot::Open(partition) => match partition.progress().leader {
                Some(leader) if leader == this => Some(Route::Here(partition.clone())),
                Some(leader) => self.away(leader),
                None => {
                    let status = partition.status();
                    let ails = status.damage.is_some() || status.stopped;
                    // Damaged or failed, it says so itself where nobody else will ever serve the call.
                    let here = || (!self.has_others(id)).then(|| Route::Here(partition.clone()));
                    if ails { elsewhere().or_else(here) } else { None }
                }
            },
            Slot::Failed(error) => match elsewhere() {
                Some(route) => Some(route),
                None => return Err(open_error(error, topic.at(number))),
            },
            Slot::Elsewhere => elsewhere(),
        })
    }

    /// Another node that runs and has a copy, whether or not it leads.
    fn another_reader(&self, topic: &Topic, number: u32) -> Option<Route> {
        let (id, _) = topic.slot(number).ok()?;
        let (state, alive) = (self.view.state(), self.view.alive());
        let mut hosts = state.0.placement(id)?.hosting().filter(|node| *node != self.view.this());
        hosts.find(|node| alive.contains(node)).and_then(|node| self.away(node))
    }

    /// Whether other nodes have a partition, one of which will lead it.
    fn has_others(&self, id: PartitionId) -> bool {
        let state = self.view.state();
        state
            .0
            .placement(id)
            .is_some_and(|placement| placement.hosting().any(|node| node != self.view.this()))
    }

    fn away(&self, node: NodeId) -> Option<Route> {
        let addr = self.view.addresses.rpc_addr(node)?;
        Some(Route::There(Away { node, addr }))
    }

    /// An error as it is sent: whoever is not the leader says who is.
    pub(crate) fn status(&self, error: ApiError) -> Status {
        self.view.with_leader_addr(error).into()
    }
}

/// Of a batch that was handed on to a node which does not lead any more, and gave no answer.
pub(crate) fn moved(place: &Place, node: NodeId) -> ApiError {
    let at = place.topic.at(place.number);
    let message = format!("{at}: node {node} gave no answer, and does not lead it any more");
    ApiError::new(Reason::CommitUnknown, message)
}

/// What another node answered to something that may have been appended.
pub(crate) fn from_afar(status: &Status, away: &Away) -> ApiError {
    match from_afar_read(status, away) {
        // What was handed on may have been done.
        error if error.reason == Reason::Deadline || is_lost(status) => {
            ApiError::new(Reason::CommitUnknown, error.message)
        }
        error => error,
    }
}

/// The answer of another node to something that changes nothing.
pub(crate) fn answered<T>(answer: Result<Response<T>, Status>, away: &Away) -> Result<T, ApiError> {
    answer.map(Response::into_inner).map_err(|status| from_afar_read(&status, away))
}

/// What another node answered to something that changes nothing. What became of the way there is not the caller's business,
/// but that there is no way.
pub(crate) fn from_afar_read(status: &Status, away: &Away) -> ApiError {
    let error = ApiError::from_status(status);
    match error.reason {
        Reason::Unreachable | Reason::ConnectionLost => {
            let message = format!("node {} at {}: {}", away.node, away.addr, error.message);
            ApiError::new(Reason::NoLeader, message)
        }
        _ => error,
    }
}

/// Whether the connection broke before the answer came.
fn is_lost(status: &Status) -> bool {
    ApiError::from_status(status).reason == Reason::ConnectionLost
}

fn not_leader(topic: &Topic, number: u32, away: &Away) -> ApiError {
    let message = format!("{}: node {} at {} leads it", topic.at(number), away.node, away.addr);
    ApiError::new(Reason::NotLeader, message)
        .with(meta::LEADER_ID, away.node)
        .with(meta::LEADER_ADDR, &away.addr)
}

fn no_leader(topic: &Topic, number: u32) -> ApiError {
    let message = format!("{}: nobody leads it at present: wait for an election", topic.at(number));
    ApiError::new(Reason::NoLeader, message)
}

/// A partition of a topic, which a call is about.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) topic: Arc<Topic>,
    pub(crate) number: u32,
}

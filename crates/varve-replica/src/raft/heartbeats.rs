//! Heartbeats of many groups, which travel together.
//!
//! What is to go to a node is gathered while other tasks have some turns, for those that beat together are woken together, and
//! while a few frames are under way already. So an idle network is not waited for, and a busy one carries few frames; and where a node
//! answers late, what waits for it is one heartbeat of each group, the newest.

use super::peer::{PeerError, PeerRequest, PeerResponse, Request, Response};
use super::peers::Peers;
use super::steady::Heard;
use super::types::Types;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use varve_record::{NodeId, PartitionId};

/// Heartbeats in one frame.
pub(super) const HEARTBEATS_MAX: usize = 1024;
/// Frames of heartbeats under way to one node. More than one, so that a slow answer does not hold up the next.
const FRAMES_MAX: usize = 4;
/// How often other tasks have a turn before a frame is sent.
const TURNS_MAX: usize = 16;
/// How long the groups may take to answer heartbeats that came together. Who has not answered by then does not hold up the
/// others' answers.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(50);
/// How long a group that is late is waited for, so that its answer is known when its next heartbeat comes.
const LATE_TIME_MAX: Duration = Duration::from_secs(6);

/// What a leader sends, and what it is answered.
pub(super) type Heartbeat = AppendEntriesRequest<Types>;
type Answer = Result<AppendEntriesResponse<Types>, PeerError>;

/// A frame of heartbeats is of no group.
const NO_GROUP: PartitionId = PartitionId::new(0);

/// Heartbeats on their way to other nodes.
#[derive(Debug, Default)]
pub(super) struct Heartbeats(Mutex<BTreeMap<NodeId, Lane>>);

/// Those to one node.
#[derive(Debug, Default)]
struct Lane {
    /// The newest of each group, where it was not sent yet.
    waiting: BTreeMap<PartitionId, Waiting>,
    /// A task is about to send them.
    is_gathering: bool,
    frames: usize,
}

#[derive(Debug)]
struct Waiting {
    heartbeat: Heartbeat,
    /// Nobody waits for the answer any longer than this.
    time_max: Duration,
    answer: oneshot::Sender<Answer>,
}

impl Lane {
    /// Whether somebody has to send what waits, which the caller then does.
    fn begins(&mut self) -> bool {
        let begins = !self.is_gathering && self.frames < FRAMES_MAX && !self.waiting.is_empty();
        self.is_gathering |= begins;
        begins
    }

    fn take(&mut self) -> BTreeMap<PartitionId, Waiting> {
        self.is_gathering = false;
        self.frames += 1;
        let mut taken = std::mem::take(&mut self.waiting);
        if let Some(first_left) = taken.keys().nth(HEARTBEATS_MAX).copied() {
            self.waiting = taken.split_off(&first_left);
        }
        // A group that has given up waiting says so again at its next beat.
        taken.retain(|_, waiting| !waiting.answer.is_closed());
        taken
    }
}

impl Heartbeats {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Sends a heartbeat of a group to another node, with those of others. The answer comes within `time_max`, or none does.
    pub(super) async fn heartbeat(
        &self,
        to: NodeId,
        group: PartitionId,
        heartbeat: Heartbeat,
        time_max: Duration,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut lanes = self.heartbeats().lock();
            let lane = lanes.entry(to).or_default();
            drop(lane.waiting.insert(group, Waiting { heartbeat, time_max, answer }));
            lane.begins()
        };
        if begins {
            drop(varve_env::spawn_task(send(self.clone(), to)));
        }
        let unsent =
            |_| Err(PeerError::NotSent { node: to, reason: "a newer heartbeat was sent".to_owned() });
        answered.await.unwrap_or_else(unsent)
    }

    /// Answers heartbeats that came together: each in its place, `None` where there is no such group, or it does not answer.
    pub(super) async fn answer_heartbeats(
        &self,
        heartbeats: Vec<(PartitionId, Heartbeat)>,
    ) -> Vec<Option<AppendEntriesResponse<Types>>> {
        let mut answers = vec![None; heartbeats.len()];
        let (mut awaited, mut in_passing) = (FuturesUnordered::new(), Vec::new());
        for (at, (group, heartbeat)) in heartbeats.into_iter().enumerate() {
            let Some(group) = self.group(group) else { continue };
            let Heard { is_agreed, asking } = group.hear(&heartbeat);
            answers[at] = is_agreed.then_some(AppendEntriesResponse::Success);
            let Some(asking) = asking else { continue };
            let asked = async move { (at, group.ask_about(heartbeat, asking).await) };
            if is_agreed {
                in_passing.push(asked);
            } else {
                awaited.push(asked);
            }
        }
        let answering = async {
            while let Some((at, answer)) = awaited.next().await {
                answers[at] = answer;
            }
        };
        // Those who are late answer the next heartbeat, if it says the same. There is one of each group at most.
        drop(tokio::time::timeout(ANSWER_TIME_MAX, answering).await);
        awaited.extend(in_passing);
        if !awaited.is_empty() {
            let rest = awaited.for_each(|_| std::future::ready(()));
            drop(tokio::spawn(tokio::time::timeout(LATE_TIME_MAX, rest)));
        }
        answers
    }
}

/// Gives those that beat at the same time a turn to say so, for as long as more of them do.
async fn gather(peers: &Peers, to: NodeId) {
    let mut gathered = 0;
    for _ in 0..TURNS_MAX {
        tokio::task::yield_now().await;
        let waiting = peers.heartbeats().lock().get(&to).map_or(0, |lane| lane.waiting.len());
        if waiting == gathered {
            return;
        }
        gathered = waiting;
    }
}

/// Sends what waits for a node until nothing does.
async fn send(peers: Peers, to: NodeId) {
    loop {
        gather(&peers, to).await;
        let taken = peers.heartbeats().lock().entry(to).or_default().take();
        send_frame(&peers, to, taken).await;
        let mut lanes = peers.heartbeats().lock();
        let lane = lanes.entry(to).or_default();
        lane.frames -= 1;
        if !lane.begins() {
            return;
        }
    }
}

/// Sends heartbeats in one frame, and hands out what is answered.
async fn send_frame(peers: &Peers, to: NodeId, taken: BTreeMap<PartitionId, Waiting>) {
    let Some(time_max) = taken.values().map(|waiting| waiting.time_max).max() else { return };
    let mut heartbeats = Vec::with_capacity(taken.len());
    let mut answers = Vec::with_capacity(taken.len());
    for (group, Waiting { heartbeat, answer, .. }) in taken {
        heartbeats.push((group, heartbeat));
        answers.push((group, answer));
    }
    let request = PeerRequest::new(Request::Heartbeats(heartbeats));
    let called = peers.network().call(to, NO_GROUP, request);
    let unreachable = |reason: String| PeerError::Unreachable { node: to, reason };
    let called = match tokio::time::timeout(time_max, called).await {
        Ok(Ok(PeerResponse(Response::Heartbeats(found)))) if found.len() == answers.len() => Ok(found),
        Ok(Ok(_)) => Err(unreachable("the answer is to another question".to_owned())),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(unreachable(format!("no answer within {} ms", time_max.as_millis()))),
    };
    match called {
        Ok(found) => {
            for ((partition, answer), found) in answers.into_iter().zip(found) {
                let none = || PeerError::Stopped { partition, reason: "it does not answer".to_owned() };
                drop(answer.send(found.ok_or_else(none)));
            }
        }
        Err(error) => answers.into_iter().for_each(|(_, answer)| drop(answer.send(Err(error.clone())))),
    }
}
